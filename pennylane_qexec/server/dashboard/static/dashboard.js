"use strict";

// "/" leads to the search field of the page.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const field = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (field) {
    event.preventDefault();
    field.focus();
  }
});

// A menu closes when something else is used.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// Charts: <div class="chart" data-chart="ADDRESS">, where the address answers {"title", "x", "series": [{"name", "values"}]}.
const COLOURS = ["#4f46e5", "#d97706", "#059669", "#db2777", "#0891b2", "#7c3aed", "#65a30d", "#dc2626"];

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A line with a ring around the points that are marked.
function marked(x, marks) {
  const line = uPlot.paths.linear();
  const places = new Set(marks);
  return (plot, series, first, last) => {
    const context = plot.ctx;
    context.save();
    context.lineWidth = 3;
    context.strokeStyle = style("--bad");
    for (let place = first; place <= last; place += 1) {
      const value = plot.data[series][place];
      if (!places.has(x[place]) || value == null) continue;
      context.beginPath();
      context.arc(plot.valToPos(x[place], "x", true), plot.valToPos(value, "y", true), 9, 0, 2 * Math.PI);
      context.stroke();
    }
    context.restore();
    return line(plot, series, first, last);
  };
}

// Times of an axis, in UTC as everywhere else: days, or hours and minutes.
function moments(plot, splits) {
  const part = splits.length > 1 && splits[1] - splits[0] >= 86400 ? [0, 10] : [11, 16];
  return splits.map((seconds) => new Date(1000 * seconds).toISOString().slice(...part));
}

async function draw(place) {
  const answer = await fetch(place.dataset.chart, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const chart = await answer.json();
  const axis = { stroke: style("--quiet"), grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line") } };
  const options = {
    width: Math.max(280, place.clientWidth - 24),
    height: 280,
    title: chart.title,
    scales: { x: { time: Boolean(chart.time) } },
    tzDate: (seconds) => uPlot.tzDate(new Date(1000 * seconds), "Etc/UTC"),
    axes: [{ ...axis, label: chart.label, ...(chart.time && { values: moments, space: 90 }) }, { ...axis, size: 70 }],
    series: [
      { label: chart.label, value: chart.time ? "{YYYY}-{MM}-{DD} {HH}:{mm}" : undefined },
      ...chart.series.map((one, index) => ({
        label: one.name,
        stroke: COLOURS[index % COLOURS.length],
        width: 2,
        points: { show: chart.x.length < 200 },
        paths: one.marks && one.marks.length ? marked(chart.x, one.marks) : undefined,
        spanGaps: true,
      })),
    ],
  };
  const data = [chart.x, ...chart.series.map((one) => one.values)];
  if (place.plot) {
    place.plot.destroy();
  }
  place.plot = new uPlot(options, data, place);
}

function drawAll(root) {
  for (const place of root.querySelectorAll("[data-chart]")) draw(place);
}

document.addEventListener("DOMContentLoaded", () => drawAll(document));
document.addEventListener("htmx:afterSwap", (event) => drawAll(event.target));
document.addEventListener("htmx:sseMessage", (event) => {
  for (const place of document.querySelectorAll(`[data-chart][data-refresh="${CSS.escape(event.detail.type)}"]`)) draw(place);
});
