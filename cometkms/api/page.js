"use strict";
// Keeps the page in step with /events: the server makes the HTML, this puts it in place. Without it the page reloads itself.
(() => {
  const SILENT_MS = 4000, AGAIN_MS = 3000;
  const live = document.getElementById("live");
  let source, heard = Date.now();

  function say(on, words) {
    const text = words;
    if (live.textContent !== text) live.textContent = text;
    live.className = on ? "live on" : "live off";
    document.body.className = on ? "" : "stale";
  }

  // Whoever points at the timeline, or marks a text, is not disturbed.
  function busy(element) {
    const marked = getSelection();
    const isMarked = marked && !marked.isCollapsed && element.contains(marked.anchorNode);
    return isMarked || (element.id === "timeline" && element.matches(":hover"));
  }

  const waiting = new Map();
  function put() {
    for (const [name, html] of waiting) {
      const element = document.getElementById(name);
      if (element && busy(element)) continue;
      if (element) element.innerHTML = html;
      waiting.delete(name);
    }
  }

  function take({ title, clock, ...parts }) {
    if (title) document.title = title;
    say(true, "live, " + clock + " UTC");
    for (const [name, html] of Object.entries(parts)) waiting.set(name, html);
    put();
  }

  function connect() {
    source = new EventSource("/events");
    source.onmessage = (event) => { heard = Date.now(); take(JSON.parse(event.data)); };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN_MS);
    };
  }

  setInterval(() => {
    const silent = Math.round((Date.now() - heard) / 1000);
    put();
    if (Date.now() - heard > SILENT_MS) say(false, "no news from this node for " + silent + " s: what you see is old");
  }, 1000);
  connect();
})();
