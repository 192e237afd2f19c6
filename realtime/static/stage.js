// What the audience sees at this moment, from the same frames as the overlay, and how old it is.

import { serverNow } from "./api.js";
import { t } from "./console_words.js";
import { el, say } from "./dom.js";
import { count } from "./i18n.js";
import { money } from "./money.js";

const LOOKED_MS_MAX = 10_000;

export function ageText(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return t("seconds", { n: count(seconds) });
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? t("minutes", { n: count(minutes) }) : t("hours", { n: count(Math.round(minutes / 60)) });
}

function figure(name, id) {
  const value = el("dd", { id }, "—");
  return { value, node: el("div", {}, el("dt", {}, name), value) };
}

export class Stage {
  constructor() {
    this.frame = null;
    this.lookedAgeMs = undefined;
    this.figures = {};
    for (const name of ["raised", "goalPart", "sales", "orders", "units", "version"]) {
      this.figures[name] = figure(t(name), `screen-${name}`);
    }
    this.age = el("span", { class: "age", id: "age" });
    const all = Object.values(this.figures).map((one) => one.node);
    const head = el("div", { class: "spread" }, el("h2", {}, t("screen")), this.age);
    this.node = el("section", { class: "card" }, head, el("dl", { class: "figures" }, ...all));
  }

  take(frame) {
    this.frame = frame;
    const { raised_minor: raised, goal_minor: goal, sales_minor: sales, currency, orders, units } = frame.state;
    const { figures } = this;
    say(figures.raised.value, money(raised, currency));
    const percent = goal > 0 ? (BigInt(Math.max(raised, 0)) * 100n) / BigInt(goal) : null;
    say(figures.goalPart.value, percent === null ? "—" : `${count(percent)}%`);
    say(figures.sales.value, money(sales, currency));
    say(figures.orders.value, count(orders));
    say(figures.units.value, count(units));
    say(figures.version.value, `#${count(frame.version)}`);
  }

  // The line may be alive while nobody reads the books any more: then the numbers on screen stand still.
  booksAreRead() {
    return this.lookedAgeMs === undefined || (this.lookedAgeMs !== null && this.lookedAgeMs < LOOKED_MS_MAX);
  }

  // Two ages: of the figure (it may be old because nobody bought) and of the line it comes over.
  tick(live) {
    const fresh = live.link === "live" && this.booksAreRead();
    this.age.className = `age ${fresh && this.frame ? "fresh" : "old"}`;
    if (!this.frame) say(this.age, t("ageNone"));
    else if (fresh) say(this.age, t("ageFresh", { age: ageText(serverNow() - this.frame.at) }));
    else if (live.link === "live") say(this.age, t("ageStill", { age: ageText(serverNow() - this.frame.at) }));
    else say(this.age, t("ageOld", { age: ageText(live.silenceMs() ?? 0) }));
  }
}

const KIND_WORDS = { overlay: "overlay", shop: "shopKind", farmer: "farmer", console: "console" };

export class Viewers {
  constructor() {
    this.values = {};
    const list = el("dl", { class: "figures" });
    for (const [kind, word] of Object.entries(KIND_WORDS)) {
      const { value, node } = figure(t(word), `viewers-${kind}`);
      this.values[kind] = value;
      list.append(node);
    }
    this.node = el("section", { class: "card" }, el("h2", {}, t("watching")), list);
  }

  take(viewers) {
    for (const [kind, value] of Object.entries(this.values)) say(value, kind in viewers ? count(viewers[kind]) : "—");
  }
}
