//! Image data: IDX files, MNIST by download, and synthetic digits drawn by the program.
