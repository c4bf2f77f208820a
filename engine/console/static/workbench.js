// The workbench: line numbers with findings at them, going to a line of the text and to a place of the message.
'use strict';

addEventListener('DOMContentLoaded', () => {
  const form = document.getElementById('bench');
  if (!form) return;
  const content = document.getElementById('content'), text = document.getElementById('text');
  const saved = text.value;
  const file = form.querySelector('[name=file]');
  let loaded = file.value;

  function number(area, findings = new Map()) {
    const gutter = area.parentElement.querySelector('.gutter');
    const lines = area.value.split('\n').length;
    gutter.replaceChildren(...Array.from({ length: lines }, (_, at) => {
      const line = document.createElement('b');
      line.textContent = at + 1;
      const severity = findings.get(at + 1);
      if (severity) line.className = severity;
      return line;
    }));
    gutter.scrollTop = area.scrollTop;
  }

  for (const area of [content, text]) {
    number(area);
    area.addEventListener('input', () => number(area));
    area.addEventListener('scroll', () => { area.parentElement.querySelector('.gutter').scrollTop = area.scrollTop; });
  }

  text.addEventListener('input', () => { document.getElementById('edited').hidden = text.value === saved; });
  addEventListener('beforeunload', event => { if (text.value !== saved && !form.dataset.leaves) event.preventDefault(); });

  const attempt = () => form.dispatchEvent(new CustomEvent('try', { bubbles: true }));
  document.querySelector('[data-tries]').addEventListener('click', attempt);
  if (content.value.trim()) setTimeout(attempt, 0);

  // another file: the page is loaded anew with it, and with the same message
  file.addEventListener('change', event => {
    event.stopPropagation();
    if (text.value !== saved && !confirm('The edited text is not saved anywhere. Leave it?')) { file.value = loaded; return; }
    loaded = file.value;
    form.dataset.leaves = 'yes';
    const to = new URL(location.href);
    to.searchParams.set('file', file.value);
    location.href = to;
  });

  document.querySelector('[data-copies]').addEventListener('click', () => {
    if (navigator.clipboard) navigator.clipboard.writeText(text.value).then(() => say('Copied'), () => say('The browser does not let us copy'));
  });

  // Tab indents in the text; Escape leaves it, so that nobody is caught
  text.addEventListener('keydown', event => {
    if (event.key === 'Tab' && !event.shiftKey && !event.ctrlKey) {
      event.preventDefault();
      text.setRangeText('  ', text.selectionStart, text.selectionEnd, 'end');
      text.dispatchEvent(new Event('input', { bubbles: true }));
    }
    if ((event.ctrlKey || event.metaKey) && event.key === 'Enter') { event.preventDefault(); attempt(); }
  });

  function select(area, from, to) {
    area.focus();
    area.setSelectionRange(from, to);
    const line = area.value.slice(0, from).split('\n').length;
    area.scrollTop = Math.max(0, (line - 5) * 18.75);
    area.scrollIntoView({ block: 'nearest' });
  }

  function goToLine(line, column) {
    const lines = text.value.split('\n');
    const from = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    const start = from + Math.min(column - 1, (lines[line - 1] || '').length);
    select(text, start, from + (lines[line - 1] || '').length);
  }

  // OBX[2]-3.1: the second OBX, its third field; what is not HL7 is looked for by its last name
  function goToPlace(place) {
    const found = /^(?:.*\/)?([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?(?:-(\d+))?(?:\[(\d+)\])?(?:\.(\d+))?/.exec(place);
    const lines = content.value.split('\n');
    if (!found || !lines[0].startsWith('MSH')) {
      const name = place.split(/[.[\]]/).filter(part => part && !/^\d+$/.test(part)).pop();
      const at = name ? content.value.indexOf(name) : -1;
      if (at >= 0) select(content, at, at + name.length);
      return;
    }
    let seen = 0, from = 0;
    for (const line of lines) {
      if (line.startsWith(found[1]) && ++seen === Number(found[2] || 1)) {
        if (!found[3]) return select(content, from, from + line.length);
        const separator = lines[0][3], parts = line.split(separator);
        const position = found[1] === 'MSH' ? Number(found[3]) - 1 : Number(found[3]);
        const start = from + parts.slice(0, position).reduce((sum, one) => sum + one.length + 1, 0);
        return select(content, Math.min(start, from + line.length), Math.min(start + (parts[position] || '').length, from + line.length));
      }
      from += line.length + 1;
    }
  }

  document.getElementById('tried').addEventListener('click', event => {
    const line = event.target.closest('[data-line]'), place = event.target.closest('[data-place]');
    if (line && line.dataset.file === file.value) { event.preventDefault(); goToLine(Number(line.dataset.line), Number(line.dataset.column)); }
    if (place) { event.preventDefault(); goToPlace(place.dataset.place); }
  });

  document.body.addEventListener('htmx:afterSwap', event => {
    if (event.target.id !== 'tried') return;
    const findings = new Map();
    for (const one of event.target.querySelectorAll('.findings [data-line], .verdict [data-line]')) {
      if (one.dataset.file !== file.value) continue;
      const error = one.closest('li') ? one.closest('li').querySelector('.bad') : true;
      findings.set(Number(one.dataset.line), error ? 'error' : 'warning');
    }
    number(text, findings);
  });
});
