// The plots of the sale: time on x, one cursor for all, gaps as gaps, operators' actions as marks.
"use strict";
(() => {
  const GAP_MS = 2500, SPAN_S = 600;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const COLOURS = {
    issued: "--s1", commands: "--s6", p50: "--s2", p99: "--s1", max: "--s6", sync50: "--s2", sync99: "--s1", queue: "--s1", block: "--s1", lag: "--s1",
    sold_out: "--s1", limit: "--s2", closed: "--s3", audience: "--s4", busy: "--s5", other: "--s6",
    inward: "--s1", outward: "--s1",
  };
  const short = (n) => {
    if (n == null) return "–";
    const size = Math.abs(n);
    if (size >= 1e6) return `${+(n / 1e6).toFixed(1)}M`;
    if (size >= 1e4) return `${+(n / 1e3).toFixed(1)}k`;
    return size >= 10 || Number.isInteger(n) ? Math.round(n).toLocaleString("en-US") : String(+n.toFixed(size >= 1 ? 1 : 2));
  };
  const decades = (min, max) => {
    const all = [];
    for (let power = Math.round(Math.log10(min)); 10 ** power <= max * 1.001; power++) all.push(10 ** power);
    return all;
  };
  const plots = [];
  let words = {};

  // Columns for one plot; a hole in time becomes a hole in the line.
  function columns(reader, names) {
    const at = names.map((name) => reader.fields.indexOf(name));
    const data = [[], ...names.map(() => [])];
    let before = null;
    for (const row of reader.history) {
      if (before !== null && row[0] - before > GAP_MS) {
        data[0].push((before + 1000) / 1000);
        at.forEach((_, i) => data[i + 1].push(null));
      }
      data[0].push(row[0] / 1000);
      at.forEach((column, i) => data[i + 1].push(row[column] ?? null));
      before = row[0];
    }
    return data;
  }

  // Marks closer than a few pixels are one line that says how many it stands for.
  function gather(plot, marks) {
    const groups = [];
    for (const [t, kind, campaign] of marks) {
      if (!(kind in words) || t / 1000 < plot.scales.x.min) continue;
      const x = Math.round(plot.valToPos(t / 1000, "x", true)), text = `${campaign} ${words[kind]}`;
      const last = groups.at(-1);
      if (last && x - last.x < 6 * devicePixelRatio) Object.assign(last, { n: last.n + 1, text: `${text} +${last.n}` });
      else groups.push({ x, text, n: 1 });
    }
    return groups;
  }

  function drawMarks(plot, reader, labelled) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = css("--quiet");
    ctx.fillStyle = css("--ink");
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.lineWidth = ratio;
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    let end = -Infinity, row = 0;
    for (const { x, text } of gather(plot, reader.marks)) {
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (!labelled) continue;
      const width = ctx.measureText(text).width;
      row = x < end + 8 * ratio ? row + 1 : 0;
      if (row > 2) continue;
      const left = Math.min(x + 4 * ratio, bbox.left + bbox.width - width);
      const y = bbox.top + (11 + row * 14) * ratio;
      ctx.save();
      ctx.fillStyle = css("--ground");
      ctx.globalAlpha = .85;
      ctx.fillRect(left - 2 * ratio, y - 10 * ratio, width + 4 * ratio, 13 * ratio);
      ctx.restore();
      ctx.fillText(text, left, y);
      end = Math.max(row === 0 ? -Infinity : end, left + width);
    }
    ctx.restore();
  }

  function drawLimit(plot, limit) {
    if (!limit) return;
    const { ctx, bbox } = plot, y = plot.valToPos(limit, "y", true);
    if (!(y >= bbox.top && y <= bbox.top + bbox.height)) return;
    ctx.save();
    ctx.strokeStyle = css("--wait-fill");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }

  // The legend carries the present value, or the one under the cursor.
  function showLegend(entry, index) {
    const data = entry.plot.data;
    const last = data[0].length - 1;
    entry.items.forEach((item, i) => {
      const text = short(data[i + 1][index ?? last]);
      const place = item.querySelector("b");
      if (place.textContent !== text) place.textContent = text;
    });
  }

  // Of many lines, those that were 0 all the time say nothing: they are left out of plot and legend.
  function hideFlat(entry) {
    if (entry.names.length < 4) return;
    const lively = entry.names.map((_, i) => entry.plot.data[i + 1].some((n) => n));
    const any = lively.some(Boolean);
    entry.items.forEach((item, i) => {
      const show = any ? lively[i] : i === 0;
      item.hidden = !show;
      if (entry.plot.series[i + 1].show !== show) entry.plot.setSeries(i + 1, { show });
    });
  }

  function make(section, reader) {
    const canvas = section.querySelector(".canvas");
    const items = [...section.querySelectorAll("[data-line]")];
    const names = items.map((item) => item.dataset.line);
    const isLog = "log" in section.dataset, limit = Number(section.dataset.limit) || 0;
    const entry = { section, canvas, items, names };
    const axis = { stroke: () => css("--quiet"), font: "11px system-ui, sans-serif", grid: { stroke: () => css("--plot-grid"), width: 1 }, ticks: { show: false }, gap: 4 };
    const range = isLog
      ? (_, min, max) => [10 ** Math.floor(Math.log10(Math.max(.05, Math.min(min ?? .1, 1)))), 10 ** Math.ceil(Math.log10(Math.max(max ?? 10, limit, 10) * 1.05))]
      : (_, min, max) => [0, Math.max(1, (max ?? 0) * 1.12)];
    const filled = names.length === 1 || section.id === "plot-issued";
    const options = {
      width: canvas.clientWidth, height: canvas.clientHeight, legend: { show: false }, padding: [8, 20, 0, 0],
      cursor: { sync: { key: "banyan" }, y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { x: { time: true, range: (_, min, max) => [Math.max(min, max - SPAN_S) , Math.max(max, min + 60)] }, y: { distr: isLog ? 3 : 1, range } },
      axes: [
        { ...axis, size: 26, gap: 8, space: 88, values: (_, splits) => splits.map((s) => new Date(s * 1000).toLocaleTimeString("en-GB")) },
        { ...axis, size: 44, space: 32, values: (_, splits) => splits.map((s) => s == null ? "" : short(s)), ...(isLog ? { splits: (_, __, min, max) => decades(min, max) } : {}) },
      ],
      series: [{}, ...names.map((name, i) => ({
        stroke: () => css(COLOURS[name]), width: i === 0 && filled ? 1.75 : 1.5, spanGaps: false, points: { show: false },
        ...(i === 0 && filled ? { fill: () => `${css(COLOURS[name])}1f` } : {}),
        ...(["max", "commands", "other"].includes(name) ? { dash: [3, 3] } : {}),
      }))],
      hooks: {
        drawAxes: [(plot) => drawLimit(plot, limit)],
        draw: [(plot) => drawMarks(plot, entry.reader, section.id === "plot-issued")],
        setCursor: [(plot) => showLegend(entry, plot.cursor.idx)],
      },
    };
    entry.reader = reader;
    canvas.replaceChildren();
    entry.plot = new uPlot(options, columns(reader, names), canvas);
    new ResizeObserver(() => entry.plot.setSize({ width: canvas.clientWidth, height: canvas.clientHeight })).observe(canvas);
    return entry;
  }

  function update(whole) {
    // Most plots are of the sale; a page may have its own numbers.
    const reader = "series" in document.querySelector(".plots").dataset ? whole.series : whole;
    if (!reader || reader.history.length < 2) return;
    if (!plots.length) {
      words = JSON.parse(document.querySelector(".plots").dataset.marks);
      plots.push(...[...document.querySelectorAll(".plot")].map((section) => make(section, reader)));
    }
    for (const entry of plots) {
      entry.reader = reader;
      entry.plot.setData(columns(reader, entry.names));
      hideFlat(entry);
      if (entry.plot.cursor.idx == null) showLegend(entry, null);
    }
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach((entry) => entry.plot.redraw()));
  addEventListener("DOMContentLoaded", () => { if (document.querySelector(".plots")) window.banyan.onSamples(update); });
})();
