// Draws the charts of the trends page. Its table says the same in numbers.
'use strict';

const place = document.querySelector('[data-trends]');
// light-dark() is resolved by an element's colour, not by a custom property
function resolved(name) {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const DASHES = [[], [6, 4], [2, 3], [], [6, 4]];
const STROKES = ['solid', 'dashed', 'dotted', 'solid', 'dashed'];
const zoned = at => uPlot.tzDate(new Date(at * 1000), place.dataset.zone);  // times of the site, wherever the browser is
const seconds = value => value === null || value === undefined ? '–' : value < 1 ? `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms` : `${value.toFixed(1)} s`;

const stamp = uPlot.fmtDate('{YYYY}-{MM}-{DD} {HH}:{mm}');
// of each distance between ticks: what is written, and what besides where a year, a day begins
const STAMPS = [
  [86400, '{MM}-{DD}', '\n{YYYY}', null, null, null, null, null, 1],
  [60, '{HH}:{mm}', '\n{YYYY}-{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1],
];

function draw(target, names, times, columns, write, sparse) {
  const axis = { stroke: resolved('--soft'), font: `12px ${getComputedStyle(document.body).fontFamily}`, grid: { stroke: resolved('--line'), width: 1 }, ticks: { stroke: resolved('--line'), width: 1 } };
  const options = {
    width: target.clientWidth, height: 260, tzDate: zoned,
    legend: { markers: { width: 2, dash: (chart, at) => STROKES[at - 1] } },
    scales: { y: { range: (chart, low, high) => [0, Math.max(high * 1.05, 0.001)] } },
    axes: [{ ...axis, values: STAMPS }, { ...axis, size: 64, values: (chart, ticks) => ticks.map(write) }],
    series: [{ value: (chart, at) => at === null ? '–' : stamp(zoned(at)) },
      ...names.map((name, at) => ({ label: name, stroke: resolved(`--line-${at + 1}`), width: 1.5, dash: DASHES[at], points: { show: sparse, size: 4 }, value: (chart, value) => write(value) }))],
  };
  const chart = new uPlot(options, [times, ...columns], target);
  new ResizeObserver(() => chart.setSize({ width: target.clientWidth, height: 260 })).observe(target);
}

if (place && !place.hidden) {
  fetch(place.dataset.trends, { credentials: 'same-origin', headers: { accept: 'application/json' } }).then(answer => answer.json()).then(it => {
    const times = it.points.map(point => Date.parse(point.at) / 1000);
    const column = (what, at) => it.points.map(point => point[what][at]);
    const whole = value => value === null || value === undefined ? '–' : value.toLocaleString('en');
    draw(place.querySelector('[data-chart=counts]'), it.counts, times, it.counts.map((name, at) => column('counts', at)), whole, false);
    draw(place.querySelector('[data-chart=means]'), it.means.map(name => `${name} time`), times, it.means.map((name, at) => column('means', at)), seconds, true);
  });
}
