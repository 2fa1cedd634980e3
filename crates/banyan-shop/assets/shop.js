// What moves: the numbers of a sale, an order that goes on, and buttons that are pressed once. Every page works without it.
"use strict";
(() => {
  const POLL_MS = 1000;
  const SLOWEST_MS = 15000;

  // Asks again and again while the page is seen; slower while there is no answer.
  const poll = (url, found, failed) => {
    let wait = POLL_MS;
    const ask = async () => {
      if (document.hidden) {
        document.addEventListener("visibilitychange", ask, { once: true });
        return;
      }
      try {
        const answer = await fetch(url, { headers: { accept: "application/json" }, cache: "no-store" });
        if (!answer.ok) throw new Error(String(answer.status));
        wait = POLL_MS;
        if (found(await answer.json()) === false) return;
      } catch {
        wait = Math.min(wait * 2, SLOWEST_MS);
        failed();
      }
      setTimeout(ask, wait);
    };
    setTimeout(ask, wait);
  };

  for (const sale of document.querySelectorAll("[data-left]")) {
    const part = (name) => sale.querySelector(`[data-v="${name}"]`);
    const left = part("left");
    if (!left) continue;
    let last = "";
    const live = part("live");
    const said = part("word").dataset.live;
    poll(sale.dataset.left, (now) => {
      last = now.at;
      sale.removeAttribute("data-stale");
      live.textContent = said;
      if (left.textContent !== now.shown) left.textContent = now.shown;
      part("bar").setAttribute("width", now.quantity ? (now.left / now.quantity) * 100 : 0);
      part("over").hidden = now.left > 0;
      const claim = sale.querySelector(".claim form, .claim .button");
      if (claim) claim.hidden = now.left === 0;
    }, () => {
      sale.setAttribute("data-stale", "");
      if (last) live.textContent = sale.dataset.broken.replace("{0}", last);
    });
  }

  for (const order of document.querySelectorAll("[data-watch]")) {
    poll(order.dataset.watch, (now) => {
      if (now.mark === order.dataset.mark) return true;
      // What somebody is typing is not taken away.
      if (document.activeElement?.matches("main input")) return true;
      location.reload();
      return false;
    }, () => {});
  }

  // A form that makes something is sent once; the server sees to it in any case.
  for (const form of document.querySelectorAll("form[data-once]")) {
    form.addEventListener("submit", (event) => {
      const button = form.querySelector("button[type=submit]");
      if (button.dataset.pressed) return event.preventDefault();
      button.dataset.pressed = "yes";
      button.setAttribute("aria-disabled", "true");
      if (form.dataset.once) button.textContent = form.dataset.once;
    });
  }
  // Back from another page, the page may be shown as it was left.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  for (const select of document.querySelectorAll("select[data-send]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
})();
