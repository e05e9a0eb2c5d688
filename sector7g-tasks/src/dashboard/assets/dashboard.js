// Puts the overview's numbers into the page as they change. Without it the page is what it was when it was loaded.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  const status = document.getElementById("connection");
  const say = (text) => { if (status && status.textContent !== text) status.textContent = text; };
  const doubt = document.getElementById("doubt"), health = live.querySelector(".health:not(#doubt)");
  // What is not known to hold is not shown as if it did.
  const unsure = (text) => { say(text); doubt.textContent = `! ${text}`; doubt.hidden = false; health.hidden = true; };
  let source = null;
  const by = (name) => new Map([...document.querySelectorAll(`[data-${name}]`)].map((e) => [e.dataset[name], e]));
  const texts = by("live"), lines = by("line");
  const follow = (event) => {
    const now = JSON.parse(event.data);
    if (now.trouble) return unsure(now.trouble);
    if (now.shape !== live.dataset.shape) {
      // Not under the hands of someone who is somewhere in the page.
      if (document.activeElement === document.body) { pause(); location.reload(); }
      else say("The queues have changed: load the page again.");
      return;
    }
    for (const [name, text] of Object.entries(now.texts)) {
      const place = texts.get(name);
      if (place && place.textContent !== text) place.textContent = text;
    }
    for (const [name, points] of Object.entries(now.lines)) lines.get(name)?.setAttribute("points", points);
    doubt.hidden = true;
    health.hidden = false;
    say("Live");
  };
  const open = () => {
    source = new EventSource(live.dataset.events);
    source.onmessage = follow;
    // Closed by an answer that is no stream: too many watch, or a login is wanted again.
    source.onerror = () => unsure(source.readyState === EventSource.CLOSED
      ? "Not live: load the page again" : "Not live: trying to connect again");
  };
  const pause = () => { source?.close(); source = null; };
  // A page that nobody sees keeps no connection: a browser has few for one site.
  addEventListener("visibilitychange", () => { if (document.hidden) pause(); else if (!source) open(); });
  addEventListener("pagehide", pause);
  addEventListener("pageshow", () => { if (!source && !document.hidden) open(); });
  if (!document.hidden) open();
})();
