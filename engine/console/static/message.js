// One message: which field is under the pointer, going through values by keys, copying path and value exactly.
'use strict';

(() => {
  let here = null;

  // What was sent: marks stand for characters that do not print, and are turned back.
  function exact(piece) {
    let text = '';
    for (const node of piece.childNodes) {
      if (node.nodeType === Node.TEXT_NODE) text += node.data;
      else if (node.matches('i.mark')) text += node.dataset.code ? String.fromCodePoint(Number(node.dataset.code)) : '';
    }
    return text;
  }

  function copier(label, text) {
    const button = document.createElement('button');
    button.className = 'small';
    button.textContent = label;
    button.dataset.copy = text;
    return button;
  }

  function tell(piece, stay) {
    const what = document.querySelector('.what');
    if (!what || (here && !stay)) return;
    const path = document.createElement('code');
    path.textContent = piece.dataset.p;
    const name = document.createElement('span');
    name.textContent = piece.title === piece.dataset.p ? '' : piece.title;
    const value = document.createElement('span');
    value.className = 'value soft';
    value.textContent = piece.textContent.length > 160 ? `${piece.textContent.slice(0, 160)}…` : piece.textContent;
    const cut = piece.querySelector('i.cut') ? ' (its beginning)' : '';
    what.replaceChildren(path, name, value);
    if (stay) what.append(copier('Copy path', piece.dataset.p), copier(`Copy value${cut}`, exact(piece)));
  }

  function choose(piece) {
    if (here) here.classList.remove('on');
    here = piece;
    if (!piece) return;
    piece.classList.add('on');
    piece.scrollIntoView({ block: 'nearest' });
    tell(piece, true);
  }

  document.addEventListener('mouseover', event => {
    const piece = event.target.closest && event.target.closest('[data-pieces] [data-p]');
    if (piece) tell(piece, false);
  });

  document.addEventListener('click', event => {
    const piece = event.target.closest('[data-pieces] [data-p]');
    if (piece) choose(piece === here ? null : piece);
  });

  document.addEventListener('keydown', event => {
    const list = event.target.closest && event.target.closest('[data-pieces]');
    if (!list || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') return choose(null);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const line = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step && !line) return;
    event.preventDefault();
    const pieces = [...list.querySelectorAll('[data-p]')].filter(piece => piece.offsetParent);
    let at = pieces.indexOf(here);
    if (at < 0) return choose(pieces[0] || null);
    if (step) return choose(pieces[Math.max(0, Math.min(pieces.length - 1, at + step))]);
    const from = pieces[at].closest('.line');
    while (pieces[at + line] && pieces[at].closest('.line') === from) at += line;
    choose(pieces[at]);
  });

  function arrived() {
    here = null;
    const fault = document.querySelector('#stage .fault');
    if (!fault) return;
    const first = fault.matches('[data-p]') ? fault : fault.querySelector('[data-p]');
    fault.scrollIntoView({ block: 'center' });
    if (first && fault.matches('[data-p]')) choose(first);
  }

  document.addEventListener('htmx:afterSettle', event => {
    if (event.target.id === 'stage') arrived();
  });
  document.addEventListener('DOMContentLoaded', arrived);
})();
