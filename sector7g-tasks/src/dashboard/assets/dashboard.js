// Puts the overview's numbers into the page as they change. Without it the page is what it was when it was loaded.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  const status = document.getElementById("connection");
  const say = (text) => { if (status && status.textContent !== text) status.textContent = text; };
  const source = new EventSource(live.dataset.events);
  const by = (name) => new Map([...document.querySelectorAll(`[data-${name}]`)].map((e) => [e.dataset[name], e]));
  const texts = by("live"), lines = by("line");
  source.onmessage = (event) => {
    const now = JSON.parse(event.data);
    if (now.trouble) return say(now.trouble);
    if (now.shape !== live.dataset.shape) {
      // Not under the hands of someone who is somewhere in the page.
      if (document.activeElement === document.body) { source.close(); location.reload(); }
      else say("The queues have changed: load the page again.");
      return;
    }
    for (const [name, text] of Object.entries(now.texts)) {
      const place = texts.get(name);
      if (place && place.textContent !== text) place.textContent = text;
    }
    for (const [name, points] of Object.entries(now.lines)) lines.get(name)?.setAttribute("points", points);
    say("Live");
  };
  source.onerror = () => say("Not live: trying to connect again");
  addEventListener("pagehide", () => source.close());
})();
