// Who watches, and who stands in the queue to pay: asked for every few seconds, because no topic tells it.

import { serverNow } from "../api.js";
import { el, say } from "../dom.js";
import { count, translator } from "../i18n.js";
import { card, figure } from "./panel.js";
import { ageText, t } from "./words.js";

const w = translator({
  watching: ["Connected", "在线连接"],
  overlay: ["Overlays", "叠加层"],
  shop: ["Shoppers", "购物者"],
  moderator: ["Moderators", "审核员"],
  farmer: ["Farmers", "农户"],
  console: ["Consoles", "控制台"],
  waiting: ["Waiting to pay", "等待付款"],
  oldest: ["Oldest has waited", "最久已等待"],
  minutes: ["Last one's turn in", "最后一位还需"],
  noOverlay: ["No overlay is connected: your audience sees nothing of this.", "没有叠加层在线：观众看不到任何内容。"],
});
const KINDS = ["overlay", "shop", "moderator", "farmer", "console"];

export class AudiencePanel {
  constructor() {
    this.figures = {};
    for (const kind of KINDS) this.figures[kind] = figure(w(kind), `viewers-${kind}`);
    for (const name of ["waiting", "oldest", "minutes"]) this.figures[name] = figure(w(name), `queue-${name}`);
    this.age = el("span", { class: "soft small num", id: "viewers-age" });
    this.warning = el("p", { class: "note bad", id: "no-overlay", role: "status", hidden: true }, w("noOverlay"));
    const all = Object.values(this.figures).map((one) => one.node);
    this.node = card(w("watching"), { id: "audience", aside: this.age }, el("dl", { class: "figures" }, ...all), this.warning);
  }

  // The answer of GET …/screen.
  takeScreen({ viewers, payments_waiting: waiting }) {
    this.at = serverNow();
    for (const kind of KINDS) say(this.figures[kind].value, viewers && kind in viewers ? count(viewers[kind]) : "—");
    this.warning.hidden = !this.isLive || viewers?.overlay !== 0;
    this.oldestAt = waiting?.oldest_at ?? null;
    say(this.figures.waiting.value, waiting ? count(waiting.count) : "—");
    say(this.figures.minutes.value, waiting?.count ? t("minutes", { n: count(waiting.minutes) }) : "—");
    this.tick();
  }

  take(part, state) {
    if (part === "status") this.isLive = state.state === "live";
  }

  tick() {
    if (this.at) say(this.age, t("ago", { age: ageText(serverNow() - this.at) }));
    say(this.figures.oldest.value, this.oldestAt ? ageText(serverNow() - Date.parse(this.oldestAt)) : "—");
  }
}
