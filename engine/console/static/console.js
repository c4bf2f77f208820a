// What the console does in the browser. Pages work without it, except where they say so; nothing here makes markup from data.
'use strict';

const rows = () => [...document.querySelectorAll('[data-row]')].filter(row => row.offsetParent);
const typing = target => target.matches('input, textarea, select, [contenteditable]');

function say(text) {
  const said = document.getElementById('said');
  said.textContent = text;
  said.classList.add('on');
  clearTimeout(say.timer);
  say.timer = setTimeout(() => said.classList.remove('on'), 2500);
}

// ── keys: a page adds its own with data-key="r" on a link or button ──

function step(by) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex(row => row.classList.contains('here'));
  const to = all[Math.max(0, Math.min(all.length - 1, at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by))];
  all.forEach(row => row.classList.toggle('here', row === to));
  to.scrollIntoView({ block: 'nearest' });
  const link = to.querySelector('a');
  if (link) link.focus({ preventScroll: true });
}

const GO = { d: '/', m: '/messages', w: '/worklists', t: '/trends', b: '/workbench', s: '/site', c: '/compare', j: '/jobs', p: '/map', a: '/account' };
let going = 0;

function help() {
  const dialog = document.getElementById('keys');
  if (dialog.open) return dialog.close();
  fetch('/help', { credentials: 'same-origin' }).then(answer => answer.text()).then(text => {
    const page = new DOMParser().parseFromString(text, 'text/html');
    const keys = page.getElementById('all-keys');
    if (!keys) return;
    const title = document.createElement('h2');
    title.id = 'keys-title';
    title.textContent = 'Keys';
    dialog.replaceChildren(title, document.importNode(keys, true));
    dialog.showModal();
  });
}

document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'Escape') {
    if (typing(event.target)) event.target.blur();
    shut(null);
    return;
  }
  if (typing(event.target)) return;
  if (document.querySelector('dialog[open]')) {
    if (event.key === '?' && document.getElementById('keys').open) help();
    return;
  }
  const now = Date.now();
  if (going && now - going < 1200) {
    going = 0;
    if (GO[event.key]) { event.preventDefault(); location.href = GO[event.key]; }
    return;
  }
  const own = event.key.length === 1 ? document.querySelector(`[data-key="${CSS.escape(event.key)}"]`) : null;
  if (own) {
    event.preventDefault();
    if (own.matches('input, textarea, select')) own.focus(); else own.click();
    return;
  }
  switch (event.key) {
    case '/': {
      event.preventDefault();
      const box = document.querySelector('[data-find]') || document.getElementById('find');
      if (box) { box.focus(); box.select(); }
      break;
    }
    case 'j': step(1); break;
    case 'k': step(-1); break;
    case 'x': {
      const box = document.querySelector('[data-row].here input[type=checkbox]');
      if (box) { box.checked = !box.checked; box.dispatchEvent(new Event('change', { bubbles: true })); }
      break;
    }
    case 'Enter': {
      if (event.target.closest('a, button, summary')) return;
      const link = document.querySelector('[data-row].here a');
      if (link) link.click();
      break;
    }
    case 'g': going = now; break;
    case '?': help(); break;
    default: return;
  }
});

// ── menus of the top: one is open at a time, and what is done elsewhere closes it ──

function shut(kept) {
  for (const menu of document.querySelectorAll('.drop[open]')) {
    if (menu === kept) continue;
    if (menu.contains(document.activeElement)) menu.querySelector('summary').focus();
    menu.open = false;
  }
}
document.addEventListener('click', event => shut(event.target.closest('.drop')));
document.addEventListener('focusin', event => {
  for (const menu of document.querySelectorAll('.drop[open]')) if (!menu.contains(event.target)) menu.open = false;
});

// ── dialogs: data-opens="id" opens one, data-closes closes it ──

document.addEventListener('click', event => {
  const opener = event.target.closest('[data-opens]');
  if (opener) {
    event.preventDefault();
    const dialog = document.getElementById(opener.dataset.opens);
    if (dialog) dialog.showModal();
    return;
  }
  if (event.target.closest('[data-closes]')) {
    event.preventDefault();
    event.target.closest('dialog').close();
    return;
  }
  const copier = event.target.closest('[data-copy]');
  if (copier && navigator.clipboard) {
    navigator.clipboard.writeText(copier.dataset.copy).then(() => say('Copied'), () => say('The browser does not let us copy'));
  }
});

document.addEventListener('change', event => {
  if (event.target.matches('[data-row] input[type=checkbox]')) {
    event.target.closest('[data-row]').classList.toggle('marked', event.target.checked);
  }
  if (event.target.matches('[data-marks-all]')) {
    for (const box of document.querySelectorAll('[data-row] input[type=checkbox]')) {
      box.checked = event.target.checked;
      box.closest('[data-row]').classList.toggle('marked', box.checked);
    }
  }
  if (event.target.matches('[data-submits]')) event.target.form.requestSubmit();
});

// One submit a form: a double Enter does nothing twice. The server knows it too.
document.addEventListener('submit', event => {
  const form = event.target;
  if (form.method !== 'post' || event.defaultPrevented) return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = 'yes';
  setTimeout(() => { delete form.dataset.sent; }, 5000);
});

// ── live: data-live="address" holds parts with ids; the server sends HTML whose elements replace those of the same id ──

function live(place) {
  const source = new EventSource(place.dataset.live);
  source.onopen = () => place.classList.remove('stale');
  source.onerror = () => place.classList.add('stale');
  source.onmessage = event => {
    place.classList.remove('stale');
    const parts = new DOMParser().parseFromString(`<body>${event.data}`, 'text/html');
    const here = document.querySelector('[data-row].here[id]')?.id;  // the row of the keys stays theirs
    for (const part of parts.body.querySelectorAll(':scope > template[data-for], :scope > [id]')) {
      const id = part.dataset.for || part.id;
      const old = document.getElementById(id);
      if (!old || old.contains(document.activeElement) && document.activeElement.matches('input, select, textarea')) continue;
      // table rows cannot stand alone in a document: they come inside <template data-for="id">
      const fresh = part.matches('template') ? part.content.firstElementChild : part;
      if (fresh) old.replaceWith(document.importNode(fresh, true));
    }
    if (here) document.getElementById(here)?.classList.add('here');
    place.dispatchEvent(new CustomEvent('live:updated', { bubbles: true }));
  };
  addEventListener('pagehide', () => source.close());
}

// ── times that go on ──

function ages() {
  for (const time of document.querySelectorAll('time[data-ago]')) {
    const seconds = Math.max(0, (Date.now() - Date.parse(time.dateTime)) / 1000);
    const minutes = Math.floor(seconds / 60), hours = Math.floor(seconds / 3600), days = Math.floor(seconds / 86400);
    const text = seconds < 60 ? `${Math.floor(seconds)} s` : minutes < 60 ? `${minutes} min`
      : hours < 48 ? `${hours} h ${minutes % 60} min` : `${days} d ${hours % 24} h`;
    time.textContent = `${text} ago`;
  }
}

document.addEventListener('DOMContentLoaded', () => {
  document.querySelectorAll('[data-live]').forEach(live);
  setInterval(ages, 5000);
  const current = document.querySelector('nav.main > [aria-current], nav.main > .drop:has(.in)');
  if (current) current.parentElement.scrollLeft = Math.max(0, current.offsetLeft - 60);
  document.querySelectorAll('[data-autofocus]').forEach(place => place.focus({ preventScroll: true }));
});
