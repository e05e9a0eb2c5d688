// Puts the overview's numbers into the page as they change. Without it the page is what it was when it was loaded.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  const status = document.getElementById("connection");
  const say = (text) => { if (status && status.textContent !== text) status.textContent = text; };
  const [doubt, well, unwell] = ["doubt", "well", "unwell"].map((id) => document.getElementById(id));
  const show = (shown) => { for (const place of [doubt, well, unwell]) place.hidden = place !== shown; };
  // What is not known to hold is not shown as if it did.
  const unsure = (text) => { say(text); doubt.textContent = `! ${text}`; show(doubt); };
  // Places that are there already stay, with the focus that one of them may have. All is set as text.
  const tell = ({ concerns, more }) => {
    const list = unwell.querySelector("ul"), rest = unwell.querySelector(".hint");
    while (list.children.length > concerns.length) list.lastElementChild.remove();
    for (const [nth, { text, place, see }] of concerns.entries()) {
      const item = list.children[nth] ?? list.appendChild(document.createElement("li"));
      const said = item.querySelector("span") ?? item.appendChild(document.createElement("span"));
      if (said.textContent !== text) said.textContent = text;
      let link = item.querySelector("a");
      if (!place) { link?.remove(); continue; }
      if (!link) { item.append(" "); link = item.appendChild(document.createElement("a")); }
      if (link.getAttribute("href") !== place) link.setAttribute("href", place);
      if (link.textContent !== see) link.textContent = see;
    }
    rest.hidden = !more;
    rest.textContent = more ?? "";
  };
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
    tell(now);
    show(now.is_well ? well : unwell);
    say(now.is_well ? "Live" : "Live: not all is well");
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
