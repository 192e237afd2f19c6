// The names of those who bought and gave, one after another along a strip, each once. Where the overlay is opened it
// begins with the newest ones and goes on from there, in order, however fast they come: a rush waits its turn on the
// server, not in this page.

import { el, say } from "../../dom.js";
import { count, translator } from "../../i18n.js";
import { Belt } from "../belt.js";
import { choice, whole } from "../parameters.js";
import { Roll } from "../roll.js";
import { Sheet } from "../sheet.js";

const t = translator({
  thanks: ["Thank you", "感谢"],
  first: ["Be the first name here", "成为这里的第一个名字"],
  all: ["…to everyone who bought and gave", "感谢每一位购买与捐赠的朋友"],
});

// The strip is empty for a moment between two names; only after this long it says so.
const QUIET_MS = 2_500;
const GAP = 2.2;

class Ticker {
  constructor(ctx) {
    this.ctx = ctx;
    this.total = el("b", { class: "num" });
    this.strip = el("div", { class: "strip" });
    this.quiet = el("p", { class: "quiet" });
    const label = el("p", { class: "tab" }, el("span", {}, t("thanks")), this.total);
    this.node = el("section", { class: "ticker plate", hidden: true }, label, el("div", { class: "window" }, this.strip, this.quiet));
    this.roll = null;
    this.belt = null;
    this.nextSince = performance.now();
  }

  take(names) {
    this.node.hidden = this.ctx.params.names === "none";
    if (this.node.hidden) return;
    say(this.total, names.count ? count(names.count) : "");
    say(this.quiet, t(names.count ? "all" : "first"));
    if (!this.roll) this.begin();
    this.roll.take(names);
    for (const node of [...this.strip.children]) if (this.roll.isGone(Number(node.dataset.n))) node.style.visibility = "hidden";
    this.settle();
  }

  begin() {
    const { params, streamId, call } = this.ctx;
    this.roll = new Roll(streamId, params.test ? null : (path) => call("GET", path));
    const next = () => this.next();
    const moving = (document.documentElement.dataset.anim ?? "on") === "on";
    this.belt = moving
      ? new Belt(this.strip, { along: "x", speed: params.speed, gap: GAP, backwards: params.dir === "rtl", next })
      : new Sheet(this.strip, { along: "x", gap: GAP, next });
    this.belt.start();
  }

  next() {
    const one = this.roll.next();
    this.settle();
    if (!one) return null;
    this.nextSince = performance.now();
    return el("bdi", { class: "name", "data-n": one.n }, one.name);
  }

  settle() {
    const empty = !this.strip.children.length && performance.now() - this.nextSince > QUIET_MS;
    this.quiet.classList.toggle("shown", empty);
  }
}

const tickers = new WeakMap();

export default {
  parts: ["names"],
  bare: true,
  at: "bottom",
  options: {
    names: choice("approved", "none"),
    speed: whole(9, 2, 40),
  },
  make(ctx) {
    const ticker = new Ticker(ctx);
    tickers.set(ticker.node, ticker);
    return ticker.node;
  },
  paint(node, { names }) {
    tickers.get(node).take(names);
  },
};
