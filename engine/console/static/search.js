// The query box: completions while typing, a way to stop, and dialogs that know the query.
'use strict';

(() => {
  const box = document.getElementById('q');
  const list = document.getElementById('offers');
  if (!box) return;
  let asked = 0, chosen = -1, timer = 0;

  // The term that the cursor stands in: from the last space outside quotation marks.
  function term() {
    const before = box.value.slice(0, box.selectionStart);
    let start = 0, quoted = false;
    [...before].reduce((at, letter) => {
      if (letter === '"') quoted = !quoted;
      if (!quoted && /\s/.test(letter)) start = at + letter.length;
      return at + letter.length;
    }, 0);
    return { start, text: before.slice(start) };
  }

  function close() {
    list.classList.add('hidden');
    list.replaceChildren();
    box.setAttribute('aria-expanded', 'false');
    box.removeAttribute('aria-activedescendant');
    chosen = -1;
  }

  function choose(number) {
    const all = [...list.children];
    chosen = (number + all.length) % all.length;
    all.forEach((item, at) => item.setAttribute('aria-selected', String(at === chosen)));
    all[chosen].scrollIntoView({ block: 'nearest' });
    box.setAttribute('aria-activedescendant', all[chosen].id);
  }

  function take(item) {
    const { start } = term();
    const rest = box.value.slice(box.selectionStart).replace(/^[^\s"]*/, '');
    const text = item.dataset.text;
    const gap = text.endsWith(':') || /^\s/.test(rest) ? '' : ' ';
    box.value = box.value.slice(0, start) + text + gap + rest;
    const at = start + text.length + gap.length;
    box.setSelectionRange(at, at);
    close();
    if (text.endsWith(':')) offer();
  }

  async function offer() {
    const mine = ++asked;
    const begun = term().text;
    if (begun.startsWith('"') || begun.length > 200) return close();
    let found = [];
    try {
      const answer = await fetch(`/api/v1/messages/complete?${new URLSearchParams({ begun })}`, { credentials: 'same-origin' });
      if (answer.ok) found = await answer.json();
    } catch { /* without completions the box is a box */ }
    if (mine !== asked || document.activeElement !== box) return;
    if (!found.length || (found.length === 1 && found[0].text === begun)) return close();
    list.replaceChildren(...found.map((one, at) => {
      const item = document.createElement('li');
      const text = document.createElement('span');
      const hint = document.createElement('small');
      item.id = `offer-${at}`;
      item.setAttribute('role', 'option');
      item.setAttribute('aria-selected', 'false');
      item.dataset.text = one.text;
      text.textContent = one.text;
      hint.textContent = one.hint;
      item.append(text, hint);
      return item;
    }));
    chosen = -1;
    box.removeAttribute('aria-activedescendant');
    list.classList.remove('hidden');
    box.setAttribute('aria-expanded', 'true');
  }

  box.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(offer, 120); });
  box.addEventListener('blur', () => setTimeout(close, 150));
  box.addEventListener('keydown', event => {
    const open = list.children.length > 0;
    if (event.key === 'ArrowDown' && !open) { event.preventDefault(); offer(); return; }
    if (!open) return;
    if (event.key === 'ArrowDown') { event.preventDefault(); choose(chosen + 1); }
    else if (event.key === 'ArrowUp') { event.preventDefault(); choose(chosen < 0 ? -1 : chosen - 1); }
    else if (event.key === 'Escape') { event.preventDefault(); event.stopPropagation(); close(); }
    else if (event.key === 'Tab' && !event.shiftKey) { event.preventDefault(); take(list.children[Math.max(chosen, 0)]); }
    else if (event.key === 'Enter') {
      if (chosen >= 0) { event.preventDefault(); take(list.children[chosen]); } else close();
    }
  });
  list.addEventListener('mousedown', event => {
    const item = event.target.closest('li');
    if (item) { event.preventDefault(); take(item); }
  });
  // What is found is walked over by keys: j and Enter are for the rows then, and / is the way back.
  document.getElementById('search').addEventListener('submit', () => { asked++; close(); box.blur(); });

  // On a phone the form is folded away; without this script it is there.
  const fold = () => { if (matchMedia('(max-width: 760px)').matches) document.querySelectorAll('.as-form').forEach(form => { form.open = false; }); };
  fold();
  document.body.addEventListener('htmx:afterSwap', fold);

  document.addEventListener('click', event => {
    const stop = event.target.closest('[data-stops]');
    if (stop && window.htmx) window.htmx.trigger(document.getElementById(stop.dataset.stops), 'htmx:abort');
    if (event.target.closest('[data-opens]')) {
      document.querySelectorAll('dialog [data-query]').forEach(place => { place.value = box.value; });
    }
  });
})();
