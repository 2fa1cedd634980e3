// What moves on a page of the console. Every word comes from the server, in the page or in the stream.
"use strict";
(() => {
  const STALE_MS = 3500, RETRY_MS = 3000, SPARK_POINTS = 60, EVENTS_SHOWN = 200;
  const body = document.body;
  const lang = document.documentElement.lang;
  const reader = { history: [], fields: [], marks: [] };
  const listeners = [];
  window.banyan = { onSamples: (listener) => { listeners.push(listener); if (reader.history.length) listener(reader); } };

  const fill = (text, value) => text.replace("{0}", value);
  const set = (element, text) => { if (element && element.textContent !== text) element.textContent = text; };
  const number = new Intl.NumberFormat("en-US");

  // The top line: words from the server, lines from the samples.
  function showVitals(vitals) {
    const line = document.querySelector(".vitals");
    if (!line) return;
    line.querySelector(".verdict").dataset.level = vitals.level;
    for (const name of ["word", "why", "issued", "p99", "queue", "lag", "durability", "sync"]) {
      set(line.querySelector(`[data-v=${name}]`), vitals[name]);
    }
    for (const lag of document.querySelectorAll("main [data-v=lag]")) set(lag, vitals.lag);
  }

  function showSparks() {
    const rows = reader.history.slice(-SPARK_POINTS);
    for (const line of document.querySelectorAll("[data-spark]")) {
      const column = reader.fields.indexOf(line.dataset.spark);
      const top = Math.max(1e-9, ...rows.map((row) => row[column] ?? 0));
      const offset = SPARK_POINTS - rows.length;
      const points = rows.flatMap((row, i) => row[column] == null ? [] : [`${(i + offset) * 2},${(22 - row[column] / top * 20).toFixed(1)}`]);
      line.setAttribute("points", points.join(" "));
    }
  }

  // Campaigns in place: numbers, bar and state.
  function showCampaigns(campaigns) {
    for (const element of document.querySelectorAll("[data-campaign]")) {
      const campaign = campaigns[element.dataset.campaign];
      if (!campaign) continue;
      for (const name of ["issued", "quantity", "left", "held", "redeemed", "revoked", "expired"]) {
        if (campaign[name] == null) continue;
        for (const place of element.querySelectorAll(`[data-v=${name}]`)) set(place, number.format(campaign[name]));
      }
      if (campaign.share != null) {
        for (const place of element.querySelectorAll("[data-v=share]")) set(place, campaign.share);
        const width = Math.min(100, campaign.issued / campaign.quantity * 100).toFixed(2);
        for (const bar of element.querySelectorAll("[data-v=bar]")) bar.setAttribute("width", width);
      }
      const state = element.querySelector(".state");
      // Another state brings another shape and other actions: those come with the page.
      if (state && state.dataset.state !== campaign.state) {
        set(state.querySelector("span"), campaign.word);
        state.dataset.state = campaign.state;
        const shape = document.querySelector(`.state[data-state=${campaign.state}] svg`);
        if (shape) state.querySelector("svg").replaceWith(shape.cloneNode(true));
      }
    }
  }

  // Parts of the page as the server makes them anew. What somebody is in with the keyboard or is selecting stays until they leave.
  const shown = new Map();
  function showParts(parts) {
    const selected = getSelection();
    for (const [id, html] of Object.entries(parts)) {
      const place = document.getElementById(id);
      if (!place || shown.get(id) === html || place.contains(document.activeElement)) continue;
      if (!selected.isCollapsed && selected.containsNode(place, true)) continue;
      shown.set(id, html);
      place.innerHTML = html;
      showTimes(place);
    }
  }

  // A slider beside its number: either moves the other.
  document.addEventListener("input", (event) => {
    const pair = event.target.closest("[data-slider]");
    if (!pair || !event.target.matches("input")) return;
    for (const other of pair.querySelectorAll("input")) if (other !== event.target) other.value = event.target.value;
  });

  // The stream: says when it breaks and since when, and tries again.
  const notice = document.getElementById("stream");
  let heard = Date.now(), stream = null, retry = 0, leaving = false;

  function broken(over) {
    if (leaving || !notice) return;
    const since = new Date(heard).toLocaleTimeString(lang);
    set(notice, over ? body.dataset.over : fill(body.dataset.broken, since));
    notice.hidden = false;
    body.classList.add("is-stale");
    // A page without news must not go on saying that all is well.
    const verdict = document.querySelector(".verdict");
    if (verdict) {
      verdict.dataset.level = "watch";
      set(verdict.querySelector("[data-v=word]"), body.dataset.unknown);
      set(verdict.querySelector("[data-v=why]"), "");
    }
  }
  function fine() {
    heard = Date.now();
    if (notice) notice.hidden = true;
    body.classList.remove("is-stale");
  }
  function connect() {
    clearTimeout(retry);
    stream?.close();
    stream = new EventSource(body.dataset.live);
    stream.addEventListener("history", (event) => {
      fine();
      const { fields, rows, marks, series } = JSON.parse(event.data);
      Object.assign(reader, { fields, history: rows, marks });
      if (series) reader.series = { fields: series.fields, history: series.rows, marks: [] };
      showSparks();
      listeners.forEach((listener) => listener(reader));
    });
    stream.addEventListener("tick", (event) => {
      fine();
      const { row, vitals, campaigns, marks, parts, series } = JSON.parse(event.data);
      reader.history.push(row);
      reader.marks.push(...marks);
      if (reader.history.length > 600) reader.history.shift();
      if (series && reader.series) {
        reader.series.history.push(...series);
        reader.series.history.splice(0, reader.series.history.length - 600);
      }
      showVitals(vitals);
      if (document.hidden) return;
      showSparks();
      if (campaigns) showCampaigns(campaigns);
      if (parts) showParts(parts);
      listeners.forEach((listener) => listener(reader));
    });
    stream.onerror = () => {
      broken(false);
      // Closed for good means refused: the server is away, or the session is over.
      if (stream.readyState === EventSource.CLOSED) {
        retry = setTimeout(async () => {
          const answer = await fetch(body.dataset.live, { method: "HEAD", headers: { accept: "text/event-stream" } }).catch(() => null);
          if (answer?.status === 401) return broken(true);
          connect();
        }, RETRY_MS);
      }
    };
  }
  if (body.dataset.live) {
    connect();
    setInterval(() => { if (Date.now() - heard > STALE_MS) broken(false); }, 1000);
    // A filtered list shows other campaigns: the stream must carry those.
    document.addEventListener("htmx:afterSwap", () => {
      const shown = [...document.querySelectorAll("main [data-campaign]")].map((element) => element.dataset.campaign);
      const address = new URL(body.dataset.live, location.href);
      address.searchParams.set("campaigns", [...new Set(shown)].join(","));
      body.dataset.live = address.pathname + address.search;
      connect();
      showTimes(document);
    });
    addEventListener("pagehide", () => { leaving = true; stream?.close(); });
    addEventListener("pageshow", (event) => { if (event.persisted) { leaving = false; connect(); } });
  }

  // Times stay relative; hovering shows the exact instant here and in UTC.
  const words = JSON.parse(body.dataset.times ?? "{}");
  const STEPS = [["seconds", 120, 1], ["minutes", 7200, 60], ["hours", 172800, 3600], ["days", Infinity, 86400]];
  function showTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime), seconds = (at - Date.now()) / 1000;
      if (Number.isNaN(seconds)) continue;
      if (!time.dataset.exact) { time.dataset.exact = "1"; time.title = `${at.toLocaleString(lang)} · ${time.dateTime}`; }
      if (Math.abs(seconds) < 1.5) continue;
      const [unit, , size] = STEPS.find(([, end]) => Math.abs(seconds) < end);
      const span = fill(words[unit], number.format(Math.trunc(Math.abs(seconds) / size)));
      set(time, fill(words[seconds > 0 ? "future" : "past"], span));
    }
  }
  showTimes(document);
  setInterval(() => { if (!document.hidden) showTimes(document); }, 5000);

  // One click copies the whole of what is shown short.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy).catch(() => {
      const area = Object.assign(document.createElement("textarea"), { value: button.dataset.copy });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    });
    const plain = button.firstElementChild ? null : button.textContent;
    button.dataset.copied = "";
    if (plain !== null) button.textContent = button.dataset.done;
    setTimeout(() => { delete button.dataset.copied; if (plain !== null) button.textContent = plain; }, 1500);
  });

  // Following the events: new rows on top, at most 200, and how many passed by unseen.
  const follow = document.getElementById("follow");
  if (follow) {
    const rows = document.getElementById("events"), skipped = document.getElementById("skipped");
    let feed = null, after = null, missed = 0;
    follow.hidden = false;
    follow.addEventListener("click", () => {
      const on = follow.getAttribute("aria-pressed") !== "true";
      follow.setAttribute("aria-pressed", String(on));
      set(follow, on ? follow.dataset.on : follow.dataset.off);
      if (!on) return feed?.close();
      const address = new URL(follow.dataset.follow, location.href);
      if (after) address.searchParams.set("after", after);
      feed = new EventSource(address);
      feed.addEventListener("rows", (event) => {
        const news = JSON.parse(event.data);
        after = news.head;
        address.searchParams.set("after", after);
        missed += news.skipped;
        if (missed > 0) { skipped.hidden = false; set(skipped, fill(skipped.dataset.text ?? follow.dataset.skipped, number.format(missed))); }
        rows.closest("table").hidden = false;
        rows.insertAdjacentHTML("afterbegin", news.html);
        for (let i = 0; i < rows.rows.length && Number(rows.rows[i].dataset.seq) > Number(rows.dataset.newest ?? 0) && i < 8; i++) rows.rows[i].classList.add("is-new");
        rows.dataset.newest = rows.rows[0]?.dataset.seq ?? 0;
        while (rows.rows.length > EVENTS_SHOWN) rows.deleteRow(-1);
        showTimes(rows);
      });
    });
  }
})();
