// The dashboard: filtering as one types, steering in a dialog, and keeping one's place while lines change.
'use strict';

const board = document.querySelector('[data-live]');
const filter = document.querySelector('[data-filter]');

function sift() {
  const wanted = filter.value.trim().toLowerCase();
  for (const row of document.querySelectorAll('.board [data-row]')) {
    const words = `${row.querySelector('th a').textContent} ${row.dataset.owner || ''}`.toLowerCase();
    row.classList.toggle('unmatched', !words.includes(wanted));
  }
}

// A line that is replaced takes the focus with it.
let focused = null;
document.addEventListener('focusin', event => {
  const row = event.target.closest('.board [data-row]');
  focused = row ? { row: row.id, at: [...row.querySelectorAll('a, button')].indexOf(event.target) } : null;
});

// Whole times become ages; what they were is still to be read.
function times() {
  for (const time of document.querySelectorAll('.board time:not([title]), .pulse time:not([title])')) time.title = time.textContent;
  ages();
}

function settle() {
  board.classList.add('is-on');
  sift();
  times();
  if (focused && document.activeElement === document.body) {
    document.getElementById(focused.row)?.querySelectorAll('a, button')[focused.at]?.focus({ preventScroll: true });
  }
}

filter.addEventListener('input', sift);
board.addEventListener('live:updated', settle);
times();

document.addEventListener('click', event => {
  const opener = event.target.closest('[data-steer]');
  if (!opener || !window.htmx || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const dialog = document.getElementById('steer');
  htmx.ajax('GET', opener.getAttribute('href'), { target: dialog, swap: 'innerHTML' }).then(() => {
    if (!dialog.open) dialog.showModal();
    dialog.querySelector('input[name=why]')?.focus();
  });
});
