// What stands behind a sale: sponsors who add to what others give, what sending costs, and who sells on which terms.

import { el, say } from "./dom.js";
import { t } from "./giving_words.js";
import { count, locale, named, timeAndDay } from "./i18n.js";
import { money } from "./money.js";

const WHAT = { gifts: "matchGifts", shares: "matchShares", all: "matchAll" };

function percent(bp) {
  return new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 2 }).format(bp / 10_000);
}

function untilText(at) {
  return t("matchUntil", { time: timeAndDay(at) });
}

// "Every gift is doubled by Tea House · until 20:30 · ¥6,900 of ¥10,000 left"
export function matchText(match, currency) {
  const names = { what: t(WHAT[match.covers] ?? "matchAll"), sponsor: named(match, "sponsor") };
  const doubled = match.ratio_bp === 10_000;
  const parts = [doubled ? t("matchDoubled", names) : t("matchTimes", { ...names, percent: percent(match.ratio_bp) })];
  if (match.ends_at) parts.push(untilText(match.ends_at));
  const left = money(match.left_minor, currency, { round: true });
  parts.push(t("matchLeft", { left, pot: money(match.pot_minor, currency, { round: true }) }));
  const each = match.per_giver_max_minor;
  if (each != null) parts.push(t("matchEach", { amount: money(each, currency, { round: true }) }));
  if (match.skus?.length) parts.push(t("matchSome"));
  return parts.join(" · ");
}

// The matches that still add something; a stranger to the page learns of them as text, changed only where it changed.
export class Sponsors {
  constructor() {
    this.node = el("ul", { class: "sponsors", hidden: true });
  }

  take({ matches, currency }) {
    const open = matches.filter((match) => match.left_minor > 0);
    this.node.hidden = open.length === 0;
    while (this.node.children.length > open.length) this.node.lastChild.remove();
    while (this.node.children.length < open.length) this.node.append(el("li", {}));
    open.forEach((match, index) => say(this.node.children[index], matchText(match, currency)));
  }
}

function weight(grams) {
  return grams % 1000 === 0 ? `${count(grams / 1000)} kg` : `${count(grams)} g`;
}

export function shippingText(rule, currency) {
  if (rule.type === "free") return t("shippingFree");
  const amount = (minor) => money(minor, currency);
  const step = (each) => t("shippingClass", { amount: amount(each.amount_minor), weight: weight(each.up_to_g) });
  const by = rule.type === "by_weight";
  const cost = by ? `${rule.classes.map(step).join(" · ")}` : t("shippingFlat", { amount: amount(rule.amount_minor) });
  const free = rule.free_from_minor == null ? "" : t("shippingFreeFrom", { amount: amount(rule.free_from_minor) });
  return [cost, free].filter(Boolean).join(" ");
}

function term(word, text) {
  return text ? [el("dt", {}, word), el("dd", { class: "lined" }, text)] : [];
}

export function sellerTerms({ seller, ...terms }) {
  return [...term(t("seller"), seller), ...term(t("refunds"), named(terms, "refund_terms"))];
}

export function termsCard(front) {
  const methods = front.payment_methods.map((method) => t(method)).join(" · ");
  return el(
    "details",
    { class: "card fold", id: "terms" },
    el("summary", {}, t("terms")),
    el(
      "dl",
      { class: "terms" },
      ...term(t("shipping"), shippingText(front.shipping.rule, front.currency)),
      ...term(t("tax"), t("taxText")),
      ...term(t("methods"), methods),
      ...sellerTerms(front),
    ),
  );
}
