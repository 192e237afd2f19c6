// Say something to those who hear the page, without interrupting them. One region, out of sight and always there: a
// region that appears together with its text is often not read.

import { el, say } from "./dom.js";

let region = null;

export function announce(text) {
  region ??= document.body.appendChild(el("p", { class: "unseen", role: "status", id: "announced" }));
  say(region, text);
}
