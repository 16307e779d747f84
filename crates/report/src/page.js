(() => {
  const cards = () => document.querySelectorAll('details.card');
  // Everything opens on paper.
  addEventListener('beforeprint', () => document.querySelectorAll('details.card,details.fold').forEach(d => d.open = true));
  // The card that a link points to opens.
  const reach = () => {
    const it = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (it && it.tagName === 'DETAILS' && !it.open) { it.open = true; it.scrollIntoView(); }
  };
  addEventListener('hashchange', reach);
  reach();
  document.querySelectorAll('button[data-cards]').forEach(b =>
    b.addEventListener('click', () => cards().forEach(d => d.open = b.dataset.cards === 'open')));
  // On a narrow screen the contents begin closed, and close once something is chosen.
  const toc = document.querySelector('nav details');
  const narrow = matchMedia('(max-width:78rem)');
  const fold = () => toc.open = !narrow.matches;
  if (toc && document.querySelector('nav .chips')) {
    fold();
    narrow.addEventListener('change', fold);
    toc.addEventListener('click', e => { if (narrow.matches && e.target.closest('a')) toc.open = false; });
    addEventListener('hashchange', () => { if (narrow.matches && location.hash === '#contents') toc.open = true; });
  }
  // The contents say where the reader is.
  if ('IntersectionObserver' in window) {
    const mark = id => document.querySelectorAll('nav ol a').forEach(a =>
      a.getAttribute('href') === '#' + id ? a.setAttribute('aria-current', 'true') : a.removeAttribute('aria-current'));
    const seen = new IntersectionObserver(all => all.forEach(e => { if (e.isIntersecting) mark(e.target.id); }), { rootMargin: '0px 0px -80% 0px' });
    document.querySelectorAll('main section').forEach(s => seen.observe(s));
  }
})();
