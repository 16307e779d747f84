//! Activations written as formulas of z: parsed once, evaluated with their derivative.
//!
//! The grammar is that of a pocket calculator: numbers, `z`, `pi`, `+ - * / ^`, brackets, the functions
//! below, and every built-in activation by its name, as in `gelu(z) - 0.1 * z`.

use crate::{Activation, SpecError};

/// A parsed formula of z.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Z,
    Number(f64),
    Negative(Box<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
    Call(Function, Vec<Self>),
    /// A built-in activation of an argument.
    Phi(Box<Activation>, Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Function {
    Exp,
    Expm1,
    Ln,
    Ln1p,
    Sqrt,
    Cos,
    Sinh,
    Cosh,
    Min,
    Max,
    Clamp,
    Where,
}

const FUNCTIONS: [(&str, Function, usize); 12] = [
    ("exp", Function::Exp, 1),
    ("expm1", Function::Expm1, 1),
    ("ln", Function::Ln, 1),
    ("ln1p", Function::Ln1p, 1),
    ("sqrt", Function::Sqrt, 1),
    ("cos", Function::Cos, 1),
    ("sinh", Function::Sinh, 1),
    ("cosh", Function::Cosh, 1),
    ("min", Function::Min, 2),
    ("max", Function::Max, 2),
    ("clamp", Function::Clamp, 3),
    ("where", Function::Where, 3),
];

const KNOWN: &str = "exp, expm1, ln, ln1p, sqrt, cos, sinh, cosh, min(a, b), max(a, b), clamp(a, low, high), \
     where(t, a, b) (a for t > 0, else b), and the activations by name";

/// A value and its derivative by z.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dual {
    pub(crate) value: f64,
    pub(crate) slope: f64,
}

impl Dual {
    fn chain(self, value: f64, slope: f64) -> Self {
        Self { value, slope: product(slope, self.slope) }
    }
}

/// A product in which an exact zero wins over what overflows beside it.
fn product(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { a * b }
}

impl Expression {
    /// Value and derivative at z; at a kink the derivative from the left.
    pub(crate) fn at(&self, z: f64) -> Dual {
        match self {
            Self::Z => Dual { value: z, slope: 1.0 },
            Self::Number(value) => Dual { value: *value, slope: 0.0 },
            Self::Negative(a) => {
                let a = a.at(z);
                Dual { value: -a.value, slope: -a.slope }
            }
            Self::Binary(operator, a, b) => binary(*operator, a.at(z), b.at(z)),
            Self::Call(function, arguments) => call(*function, arguments, z),
            Self::Phi(phi, a) => {
                let a = a.at(z);
                a.chain(phi.value(a.value), phi.derivative(a.value))
            }
        }
    }

    /// Calls `visit` with every quantity at whose zeros the formula may be unsmooth.
    pub(crate) fn switches(&self, z: f64, visit: &mut impl FnMut(f64)) {
        match self {
            Self::Z | Self::Number(_) => {}
            Self::Negative(a) => a.switches(z, visit),
            Self::Binary(_, a, b) => {
                a.switches(z, visit);
                b.switches(z, visit);
            }
            Self::Call(function, arguments) => {
                let value = |i: usize| arguments[i].at(z).value;
                match function {
                    Function::Min | Function::Max => visit(value(0) - value(1)),
                    Function::Clamp => {
                        visit(value(0) - value(1));
                        visit(value(0) - value(2));
                    }
                    Function::Where => visit(value(0)),
                    _ => {}
                }
                for argument in arguments {
                    argument.switches(z, visit);
                }
            }
            Self::Phi(phi, a) => {
                let value = a.at(z).value;
                for kink in phi.kinks() {
                    visit(value - kink);
                }
                a.switches(z, visit);
            }
        }
    }
}

fn binary(operator: Operator, a: Dual, b: Dual) -> Dual {
    match operator {
        Operator::Add => Dual { value: a.value + b.value, slope: a.slope + b.slope },
        Operator::Subtract => Dual { value: a.value - b.value, slope: a.slope - b.slope },
        Operator::Multiply => Dual {
            value: product(a.value, b.value),
            slope: product(a.slope, b.value) + product(a.value, b.slope),
        },
        Operator::Divide => {
            let value = a.value / b.value;
            Dual { value, slope: (a.slope - product(value, b.slope)) / b.value }
        }
        Operator::Power => {
            let value = power(a.value, b.value);
            let along = product(b.value * power(a.value, b.value - 1.0), a.slope);
            let across = if b.slope == 0.0 { 0.0 } else { value * a.value.ln() * b.slope };
            Dual { value, slope: along + across }
        }
    }
}

/// Integer powers of negative numbers included.
fn power(base: f64, exponent: f64) -> f64 {
    if exponent.fract() == 0.0 && exponent.abs() < 1e9 {
        base.powi(exponent as i32)
    } else {
        base.powf(exponent)
    }
}

fn call(function: Function, arguments: &[Expression], z: f64) -> Dual {
    let a = arguments[0].at(z);
    let argument = |i: usize| arguments[i].at(z);
    match function {
        Function::Exp => a.chain(a.value.exp(), a.value.exp()),
        Function::Expm1 => a.chain(a.value.exp_m1(), a.value.exp()),
        Function::Ln => a.chain(a.value.ln(), a.value.recip()),
        Function::Ln1p => a.chain(a.value.ln_1p(), (1.0 + a.value).recip()),
        Function::Sqrt => a.chain(a.value.sqrt(), 0.5 / a.value.sqrt()),
        Function::Cos => a.chain(a.value.cos(), -a.value.sin()),
        Function::Sinh => a.chain(a.value.sinh(), a.value.cosh()),
        Function::Cosh => a.chain(a.value.cosh(), a.value.sinh()),
        Function::Min => {
            let b = argument(1);
            if a.value <= b.value { a } else { b }
        }
        Function::Max => {
            let b = argument(1);
            if a.value > b.value { a } else { b }
        }
        Function::Clamp => {
            let (low, high) = (argument(1), argument(2));
            if a.value <= low.value {
                low
            } else if a.value <= high.value {
                a
            } else {
                high
            }
        }
        Function::Where => argument(if a.value > 0.0 { 1 } else { 2 }),
    }
}

/// Reads a formula.
pub(crate) fn parse(text: &str) -> Result<Expression, SpecError> {
    let mut parser = Parser { text, rest: text, depth: 0 };
    let expression = parser.sum()?;
    if parser.peek().is_none() { Ok(expression) } else { Err(parser.unexpected("an operator")) }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    depth: usize,
}

/// Deeper brackets than anybody writes, and shallower than the stack.
const MAX_DEPTH: usize = 100;

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        found
    }

    fn error(&self, why: String) -> SpecError {
        SpecError::Formula { text: self.text.to_owned(), why }
    }

    fn unexpected(&mut self, wanted: &str) -> SpecError {
        let position = self.text.len() - self.rest.len() + 1;
        let found = self.peek().map_or("the end".to_owned(), |c| format!("\"{c}\""));
        self.error(format!("{found} at character {position} where {wanted} should stand"))
    }

    fn sum(&mut self) -> Result<Expression, SpecError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("it is nested more than {MAX_DEPTH} deep")));
        }
        let mut left = self.term()?;
        loop {
            let operator = if self.accept('+') {
                Operator::Add
            } else if self.accept('-') {
                Operator::Subtract
            } else {
                self.depth -= 1;
                return Ok(left);
            };
            left = Expression::Binary(operator, Box::new(left), Box::new(self.term()?));
        }
    }

    fn term(&mut self) -> Result<Expression, SpecError> {
        let mut left = self.factor()?;
        loop {
            let operator = if self.accept('*') {
                Operator::Multiply
            } else if self.accept('/') {
                Operator::Divide
            } else {
                return Ok(left);
            };
            left = Expression::Binary(operator, Box::new(left), Box::new(self.factor()?));
        }
    }

    /// A sign binds looser than a power: -z^2 is -(z^2).
    fn factor(&mut self) -> Result<Expression, SpecError> {
        let mut negative = false;
        while let Some(sign @ ('-' | '+')) = self.peek() {
            self.accept(sign);
            negative ^= sign == '-';
        }
        let base = self.atom()?;
        let value = if self.accept('^') {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(self.error(format!("it is nested more than {MAX_DEPTH} deep")));
            }
            let exponent = self.factor()?;
            self.depth -= 1;
            Expression::Binary(Operator::Power, Box::new(base), Box::new(exponent))
        } else {
            base
        };
        Ok(if negative { Expression::Negative(Box::new(value)) } else { value })
    }

    fn atom(&mut self) -> Result<Expression, SpecError> {
        match self.peek() {
            Some('(') => {
                self.accept('(');
                let inside = self.sum()?;
                if self.accept(')') { Ok(inside) } else { Err(self.unexpected("\")\"")) }
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.word(),
            _ => Err(self.unexpected("a number, z, a function or a bracket")),
        }
    }

    fn number(&mut self) -> Result<Expression, SpecError> {
        let bytes = self.rest.as_bytes();
        let mut end = 0;
        while end < bytes.len() {
            let exponent_sign =
                matches!(bytes[end], b'+' | b'-') && matches!(bytes[end - 1], b'e' | b'E');
            if bytes[end].is_ascii_digit()
                || matches!(bytes[end], b'.' | b'e' | b'E')
                || exponent_sign
            {
                end += 1;
            } else {
                break;
            }
        }
        let digits = &self.rest[..end];
        let value: f64 =
            digits.parse().map_err(|_| self.error(format!("\"{digits}\" is not a number")))?;
        if !value.is_finite() {
            return Err(self.error(format!("\"{digits}\" is too large")));
        }
        self.rest = &self.rest[end..];
        Ok(Expression::Number(value))
    }

    fn word(&mut self) -> Result<Expression, SpecError> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(self.rest.len());
        let word = self.rest[..end].to_ascii_lowercase();
        self.rest = &self.rest[end..];
        match word.as_str() {
            "z" | "x" => return Ok(Expression::Z),
            "pi" => return Ok(Expression::Number(std::f64::consts::PI)),
            _ => {}
        }
        if !self.accept('(') {
            return Err(self.error(format!(
                "\"{word}\" is neither z nor pi, and a function needs its bracket; known: {KNOWN}"
            )));
        }
        let mut arguments = vec![self.sum()?];
        while self.accept(',') {
            arguments.push(self.sum()?);
        }
        if !self.accept(')') {
            return Err(self.unexpected("\",\" or \")\""));
        }
        let takes = |count: usize| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{word} takes {count} argument{plural}, not {}", arguments.len())
        };
        if let Some((_, function, count)) = FUNCTIONS.iter().find(|(name, ..)| *name == word) {
            return if arguments.len() == *count {
                Ok(Expression::Call(*function, arguments))
            } else {
                Err(self.error(takes(*count)))
            };
        }
        // Customary parameters, as `leaky_relu` alone means everywhere.
        let phi: Activation = word
            .parse()
            .map_err(|_| self.error(format!("unknown function \"{word}\"; known: {KNOWN}")))?;
        if arguments.len() == 1 {
            let argument = arguments.swap_remove(0);
            Ok(Expression::Phi(Box::new(phi), Box::new(argument)))
        } else {
            Err(self.error(takes(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, z: f64) -> (f64, f64) {
        let dual = parse(text).expect("parses").at(z);
        (dual.value, dual.slope)
    }

    #[test]
    fn formulas_follow_the_usual_precedence() {
        assert_eq!(at("1 + 2 * 3 - 4 / 2", 0.0).0, 5.0);
        assert_eq!(at("-z^2", 3.0), (-9.0, -6.0));
        assert_eq!(at("2^3^2", 0.0).0, 512.0);
        assert_eq!(at("(1 - 2) - 3", 0.0).0, -4.0);
        assert_eq!(at("1e-3 + 2E+2*z", 1.0), (200.001, 200.0));
        assert_eq!(at("z^-1", 2.0), (0.5, -0.25));
    }

    #[test]
    fn derivatives_are_slopes() {
        let h = 1e-6;
        for text in [
            "z * sigmoid(1.5 * z)",
            "exp(-z^2) * cos(3 * z)",
            "ln1p(exp(z)) / (1 + z^2)",
            "sqrt(1 + z^2) - 1",
            "sinh(z) / cosh(z)",
            "where(z - 0.4, z^2, 0.16 * (z + 0.6))",
            "clamp(2 * z, -1, 3) + max(z, -z) + min(z, 0.5)",
            "(1 + z^2)^(0.3 * z)",
            "gelu(z) - 0.1 * expm1(z) + ln(4 + z) + leaky_relu(z)",
        ] {
            for z in [-1.7, -0.3, 0.1, 0.9, 2.3] {
                let slope = (at(text, z + h).0 - at(text, z - h).0) / (2.0 * h);
                assert!((at(text, z).1 - slope).abs() < 1e-8, "{text} at {z}: {slope}");
            }
        }
    }

    #[test]
    fn wrong_formulas_say_where() {
        let why = |text: &str| parse(text).expect_err("must fail").to_string();
        assert!(why("z *").contains("the end at character 4"), "{}", why("z *"));
        assert!(why("z z").contains("\"z\" at character 3"), "{}", why("z z"));
        assert!(why("foo(z)").contains("unknown function \"foo\""));
        assert!(why("max(z)").contains("takes 2 arguments, not 1"));
        assert!(why("tanh(z, 1)").contains("takes 1 argument, not 2"));
        assert!(why("exp").contains("needs its bracket"));
        assert!(why("1e999").contains("too large"));
        assert!(why("1.2.3").contains("not a number"));
        assert!(why(&"(".repeat(5000)).contains("nested"));
        assert!(why(&"2^".repeat(5000)).contains("nested"));
        assert!(why("").contains("the end"));
        assert!(why("é").contains("character 1"));
    }
}
