// The head of the shop: is it on, since when or until when, what came together, and what the host shows just now. Room
// for all of it is kept from the first picture on, so that nothing below moves when it arrives.

import { serverNow } from "./api.js";
import { el, say } from "./dom.js";
import { clock, named } from "./i18n.js";
import { money } from "./money.js";
import { t } from "./shop_words.js";

export class Hero {
  // onPinned: the shopper wants to see what is on stream now.
  constructor(front, onPinned) {
    this.badge = el("span", { class: "badge num" });
    this.clock = el("b", { class: "num", role: "timer" });
    this.raised = el("b", { class: "num" }, "\u00a0");
    this.goal = el("span", { class: "num" });
    this.fill = el("i");
    this.bar = el("div", { class: "bar", "aria-hidden": "true" }, this.fill);
    this.pinned = el("button", { type: "button", class: "pinned", onclick: onPinned });
    this.pinned.style.visibility = "hidden";
    const host = front.host?.name;
    this.title = el("h1", { tabindex: "-1" }, named(front, "title"));
    this.node = el(
      "header",
      { class: "hero" },
      el("p", { class: "life" }, this.badge, " ", this.clock),
      this.title,
      host ? el("p", {}, t("with", { host })) : null,
      el("p", { class: "raised" }, this.raised, this.goal),
      this.bar,
      front.offers.length > 1 ? this.pinned : null,
    );
    this.bar.style.visibility = "hidden";
  }

  seeTally({ raised_minor: raised, goal_minor: goal, currency }) {
    say(this.raised, t("raised", { amount: money(raised, currency) }));
    say(this.goal, goal > 0 ? t("ofGoal", { goal: money(goal, currency, { round: true }) }) : "");
    this.bar.style.visibility = goal > 0 ? "visible" : "hidden";
    this.fill.style.setProperty("--part", `${goal > 0 ? Math.min(100, (raised * 100) / goal) : 0}%`);
  }

  // now: "live" | "soon" | "over"; the instants (ms) are null where nothing is counted down to.
  seeLife(now, opensAt, closesAt) {
    this.badge.classList.toggle("live", now === "live");
    const until = now === "soon" ? opensAt : now === "live" ? closesAt : null;
    const left = until === null ? null : (until - serverNow()) / 1000;
    const counted = left !== null && left > 0 ? { clock: clock(left) } : null;
    say(this.badge, now === "soon" && counted ? t("opensIn", counted) : t(now));
    say(this.clock, now === "live" && counted ? t("closesIn", counted) : "");
  }

  seePinned(offer) {
    this.pinned.style.visibility = offer ? "visible" : "hidden";
    say(this.pinned, offer ? t("pinned", { name: named(offer) }) : "");
  }
}
