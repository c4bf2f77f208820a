// The map: what flows through the box that is pointed at, or through those whose names are looked for, is marked.
'use strict';

addEventListener('DOMContentLoaded', () => {
  const map = document.querySelector('svg.map');
  if (!map) return;
  const ways = [...map.querySelectorAll('[data-way]')], nodes = [...map.querySelectorAll('.node')];

  function light(ids) {
    map.classList.toggle('lit', ids !== null);
    const on = new Set(ids || []), lit = new Set(on);
    for (const way of ways) {
      const boxes = way.dataset.way.split(' '), through = boxes.some(id => on.has(id));
      way.classList.toggle('on', through);
      if (through) boxes.forEach(id => lit.add(id));
    }
    nodes.forEach(node => node.classList.toggle('on', lit.has(node.id)));
  }

  const only = document.getElementById('only');
  const asked = () => {
    const text = only.value.trim().toLowerCase();
    return text ? nodes.filter(node => node.querySelector('title').textContent.toLowerCase().includes(text)).map(node => node.id) : null;
  };
  only.addEventListener('input', () => light(asked()));
  for (const node of nodes) {
    node.addEventListener('mouseenter', () => light([node.id]));
    node.addEventListener('mouseleave', () => light(asked()));
    node.addEventListener('focus', () => light([node.id]));
    node.addEventListener('blur', () => light(asked()));
  }
});
