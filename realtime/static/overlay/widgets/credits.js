// The end roll: everybody who agreed to be named, in the order they were approved, then what it came to, with the
// ledger number it is true as of. It begins when the scene is shown, and again each time it is.

import { Refusal, untilKnown } from "../../api.js";
import { el } from "../../dom.js";
import { count, named, translator } from "../../i18n.js";
import { money } from "../../money.js";
import { Belt } from "../belt.js";
import { choice, whole } from "../parameters.js";
import { Roll } from "../roll.js";
import { Sheet } from "../sheet.js";

const t = translator({
  thanks: ["Thank you", "感谢"],
  with: ["Made possible by", "鸣谢"],
  together: ["Together", "我们一起"],
  raised: ["raised", "共筹善款"],
  orders: ["orders", "订单"],
  givers: ["givers", "爱心人士"],
  asOf: ["as of ledger #{seq}", "截至账本 #{seq}"],
  unnamed: ["…and everybody who gave without a name", "……以及每一位匿名的爱心人士"],
});

const ROW_GAP = 0.55;
const READ_AHEAD = 40;

class Credits {
  constructor(ctx) {
    this.ctx = ctx;
    this.strip = el("div", { class: "strip" });
    this.final = el("div", { class: "final", hidden: true });
    this.node = el("section", { class: "credits" }, this.strip, this.final);
    this.states = null;
    this.belt = null;
    this.names = null;
    this.totals = null;
    addEventListener("obsSourceActiveChanged", ({ detail }) => detail.active && this.begin());
  }

  take(states) {
    this.states = states;
    this.roll?.take(states.names);
    if (!this.roll) this.begin();
  }

  begin() {
    if (!this.states) return;
    const { ctx } = this;
    this.belt?.clear();
    this.final.hidden = true;
    this.part = "head";
    this.totals = null;
    this.roll = new Roll(ctx.streamId, ctx.params.test ? null : (path) => ctx.call("GET", path), 0);
    this.roll.take(this.states.names);
    const next = () => this.next();
    const onPassed = () => this.passed();
    const moving = document.documentElement.dataset.anim === "on";
    const how = { along: "y", gap: ROW_GAP, next, onPassed };
    this.belt = moving ? new Belt(this.strip, { ...how, speed: ctx.params.speed }) : new Sheet(this.strip, how);
    this.belt.start();
    this.count();
  }

  // The totals are the server's sums of its sealed ledger, asked for once a run; nothing is added up here.
  async count() {
    const run = this.roll;
    // A rehearsal has sums of its own, which are told and need not be asked for.
    if (this.ctx.params.test) {
      const { tally, names } = this.states;
      this.totals = { ...tally, givers: names.count, count: names.count };
      return;
    }
    const path = `/streams/${encodeURIComponent(this.ctx.streamId)}/credits`;
    try {
      const totals = await untilKnown(() => this.ctx.call("GET", path));
      if (this.roll === run) this.totals = totals;
    } catch (error) {
      // Without sums the roll is of names alone; a wrong one is worse than none.
      if (!(error instanceof Refusal)) throw error;
      if (this.roll === run) this.totals = false;
    }
  }

  columns() {
    return this.ctx.params.columns || (this.ctx.params.layout === "vertical" ? 2 : 4);
  }

  // One piece after another: the title, rows of names until there are no more, the totals, and nothing.
  next() {
    if (this.part === "head") {
      this.part = "names";
      const title = named(this.states.status, "title");
      return el("div", { class: "head" }, el("h1", {}, t("thanks")), el("p", { class: "title", dir: "auto" }, title), el("h2", {}, t("with")));
    }
    if (this.part === "names") return this.row() ?? this.tail();
    return null;
  }

  row() {
    const names = [];
    // A row is let in when it is full, or when there are no more names to fill it with.
    if (this.roll.waiting.length < READ_AHEAD) this.roll.fill();
    if (this.roll.waiting.length < this.columns() && !this.roll.isDone()) return null;
    while (names.length < this.columns()) {
      const one = this.roll.next();
      if (!one) break;
      names.push(el("bdi", { class: "name", "data-n": one.n }, one.name));
    }
    return names.length ? el("div", { class: "row" }, ...names) : null;
  }

  tail() {
    if (!this.roll.isDone() || this.totals === null) return null;
    this.part = "end";
    if (this.ctx.params.end !== "stop") return this.sums();
    // The sums come and stay once the last name has left.
    this.final.replaceChildren(this.sums());
    if (!this.strip.children.length) this.passed();
    return null;
  }

  sums() {
    const { totals } = this;
    if (!totals) return el("div", { class: "sums" }, el("h1", {}, t("thanks")));
    const figure = (word, value) => el("div", {}, el("b", { class: "num" }, value), el("span", {}, t(word)));
    return el(
      "div",
      { class: "sums" },
      el("h2", {}, t("together")),
      el("p", { class: "raised num" }, money(totals.raised_minor, totals.currency)),
      el("p", { class: "of" }, t("raised")),
      el("div", { class: "figures" }, figure("orders", count(totals.orders)), figure("givers", count(totals.givers))),
      totals.givers > totals.count ? el("p", { class: "unnamed" }, t("unnamed")) : null,
      el("p", { class: "seq num" }, t("asOf", { seq: totals.seq })),
    );
  }

  passed() {
    if (this.part !== "end" || this.strip.children.length) return;
    if (this.ctx.params.end === "loop") return this.begin();
    this.final.hidden = this.ctx.params.end !== "stop";
    return this.belt.stop();
  }
}

const rolls = new WeakMap();

export default {
  parts: ({ test }) => ["names", "status", ...(test ? ["tally"] : [])],
  bare: true,
  options: {
    speed: whole(7, 2, 40),
    columns: whole(0, 0, 6),
    end: choice("stop", "loop", "clear"),
  },
  make(ctx) {
    const credits = new Credits(ctx);
    rolls.set(credits.node, credits);
    return credits.node;
  },
  paint(node, states) {
    rolls.get(node).take(states);
  },
};
