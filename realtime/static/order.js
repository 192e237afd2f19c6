// An order after it was placed, told from its state alone: address, place in the payment queue, clock, outcome.
// The shop and the pay page share it. What is not known is "checking"; "failed" is not among the words.

import { Refusal, Unknown, serverNow, sleep } from "./api.js";
import { el, say } from "./dom.js";
import { apart, clock, count, named } from "./i18n.js";
import { money } from "./money.js";
import { w } from "./order_words.js";
import { t } from "./shop_words.js";

export const FINAL = ["PAID", "EXPIRED", "CANCELLED", "REFUNDED", "PART_REFUNDED"];
const IN_DOUBT = ["checking", "processing", "succeeded"];
const SHORTEST = { name: 1, contact: 3, address: 5 };
const STEP_OF = { RESERVED: 1, AWAITING_PAYMENT: 2, PROCESSING: 2, EXPIRING: 2, PAID: 4 };

export function isGift(order) {
  return order.kind === "gift";
}

// Goods want an address before they are paid; a gift wants none.
export function wantsContact(order) {
  return !isGift(order) && !order.contact_given;
}

// Ask for the order until it is final: every second near its turn, every five when the turn is minutes away.
export async function follow(access, onOrder, onTrouble, isStopped) {
  let hurried = 0;
  while (!isStopped()) {
    try {
      const order = await access.read();
      if (isStopped()) return;
      hurried = order.state === "RESERVED" ? Math.min(5, Math.max(1, (order.minutes ?? 0) * 2)) : 1.2;
      onTrouble(null);
      onOrder(order);
      if (FINAL.includes(order.state)) hurried = order.refund_pending_minor ? 4 : 15;
    } catch (error) {
      if (error instanceof Refusal && error.status !== 425) return onTrouble(error);
      onTrouble(error);
      hurried = Math.max(2, (error.retryAfterMs ?? 0) / 1000);
    }
    await sleep(hurried * 1000 * (0.85 + Math.random() * 0.3));
  }
}

export function steps(order) {
  if (["EXPIRED", "CANCELLED", "CANCELLING", "REFUNDED"].includes(order.state)) return "";
  const gift = isGift(order);
  const held = order.state === "RESERVED" && !wantsContact(order);
  const done = held ? 2 : (STEP_OF[order.state] ?? 4);
  const here = order.state === "AWAITING_PAYMENT" && wantsContact(order) ? 1 : done;
  return el(
    "ol",
    { class: "steps" },
    ...(gift ? [1, 3, 4] : [1, 2, 3, 4]).map((n) => {
      const word = gift && n === 1 ? w("step1") : t(`step${n}`);
      return el("li", { class: n <= here ? "done" : "", "aria-current": n === here + 1 ? "step" : null }, word);
    }),
  );
}

function row(name, amount, kind = "") {
  return el("li", { class: kind }, el("span", {}, name), el("span", { class: "num" }, amount));
}

// What it is made of and comes to, as it was placed, and what went back of it.
export function summary(order, nameOf) {
  const { currency } = order.total;
  const amount = (minor) => money(minor, currency);
  const gifts = order.gifts ?? [];
  const rows = order.lines.map((line) => row(`${apart(nameOf(line.sku))} × ${count(line.quantity)}`, amount(line.amount_minor)));
  const cost = order.shipping_minor;
  if (order.lines.length && cost !== undefined) rows.push(row(w("shipping"), cost ? amount(cost) : w("free")));
  rows.push(...gifts.map((gift) => row(w(gift.kind, { cause: named(gift) }), amount(gift.amount_minor))));
  rows.push(row(t("total"), amount(order.total.amount_minor), "total"));
  const tax = order.lines.reduce((sum, line) => sum + (line.tax_minor ?? 0), 0);
  if (tax) rows.push(row(w("tax"), amount(tax), "soft small"));
  if (order.refund_pending_minor) rows.push(row(w("pending"), amount(order.refund_pending_minor), "back"));
  if (order.refunded_minor) rows.push(row(w("refunded"), amount(order.refunded_minor), "back"));
  return el("ul", { class: "lines" }, ...rows);
}

function queueText({ minutes }) {
  return (minutes ?? 0) >= 1 ? t("queueMinutes", { minutes: count(minutes) }) : t("queueSoon");
}

// Put the place of now into a card that stands there already, where the minutes are told to those who hear it.
export function seeQueue(within, order) {
  const card = within.querySelector("#queue");
  if (!card) return;
  say(card.querySelector(".turn"), queueText(order));
  say(card.querySelector(".place"), order.ahead > 0 ? t("queueAhead", { ahead: count(order.ahead) }) : "");
}

export function queueCard(order) {
  const card = el(
    "section",
    { class: "card", id: "queue" },
    el("h2", {}, isGift(order) ? w("giftQueue") : t("queueTitle")),
    el("p", { class: "turn num", role: "status" }),
    el("p", { class: "place num soft" }),
    el("p", { class: "soft small gap" }, t("queueWait")),
  );
  seeQueue(el("div", {}, card), order);
  return card;
}

export function contactForm(access, onSaved) {
  const problem = el("p", { class: "note bad", id: "contact-problem", hidden: true });
  const button = el("button", { class: "wide", type: "submit" }, t("save"));
  const field = (name, attributes, tag = "input") =>
    el("label", {}, t(name), el(tag, { name, required: true, "aria-required": "true", ...attributes }));
  // The word of what is wrong belongs to the field that has to be mended, where there is one.
  const complain = (text, at = null) => {
    for (const field of form.querySelectorAll("[aria-invalid]")) {
      field.removeAttribute("aria-invalid");
      field.removeAttribute("aria-describedby");
    }
    problem.hidden = !text;
    say(problem, text ?? "");
    if (!at) return;
    at.setAttribute("aria-invalid", "true");
    at.setAttribute("aria-describedby", problem.id);
    at.focus();
  };
  const send = async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(["name", "contact", "address"].map((key) => [key, form.elements[key].value.trim()]));
    const empty = Object.keys(values).find((key) => values[key].length < SHORTEST[key]);
    if (empty) return complain(t("missing"), form.elements[empty]);
    complain(null);
    button.disabled = true;
    button.textContent = t("saving");
    try {
      await access.ask("PUT", "/contact", { body: values });
      onSaved();
    } catch (error) {
      complain(error instanceof Unknown ? t("offline") : t("refused", { detail: error.message }));
    } finally {
      button.disabled = false;
      button.textContent = t("save");
    }
  };
  const form = el(
    "form",
    { onsubmit: send, novalidate: true },
    field("name", { autocomplete: "name", maxlength: 100 }),
    field("contact", { autocomplete: "tel", maxlength: 200, inputmode: "email" }),
    field("address", { autocomplete: "street-address", maxlength: 500, rows: 3 }, "textarea"),
    el("p", { class: "soft small gap" }, t("privacy")),
    el("div", { role: "alert" }, problem),
    button,
  );
  return form;
}

// The address, where one is wanted: asked for as soon as the units are held.
export function contactCard(order, access, onSaved) {
  const intro = [el("h2", {}, t("heldTitle")), el("p", { class: "soft" }, t("heldText"))];
  const card = el("section", { class: "card" }, ...intro, el("p", { class: "due", hidden: true }), contactForm(access, onSaved));
  seeDue(card, order);
  return card;
}

// Put the clock of now into a card that stands there already, and leave its form alone.
export function seeDue(card, order) {
  const due = card.querySelector(".due");
  if ((due.dataset.at ?? "") === (order.pay_by ?? "")) return;
  due.dataset.at = order.pay_by ?? "";
  due.hidden = !order.pay_by;
  due.replaceChildren(order.pay_by ? payClock(order) : "");
}

export function secondsLeft(order) {
  return order.pay_by ? (Date.parse(order.pay_by) - serverNow()) / 1000 : null;
}

// The clock a shopper pays against: the server's, also on a phone whose own is wrong.
export function payClock(order) {
  const node = el("span", { class: "num clock", role: "timer" });
  const tick = () => {
    const left = { clock: clock(secondsLeft(order)) };
    node.textContent = isGift(order) ? w("giftPayBy", left) : t("payBy", left);
    node.classList.toggle("short", secondsLeft(order) < 60);
    if (node.isConnected || !node.dataset.shown) setTimeout(tick, 500);
    if (node.isConnected) node.dataset.shown = "1";
  };
  tick();
  return node;
}

function verdict(kind, title, ...texts) {
  const mark = { good: "✓", wait: "…", back: "↩" }[kind];
  return el(
    "div",
    { class: `verdict ${kind}` },
    el("span", { class: "sign", "aria-hidden": "true" }, mark),
    el("h1", { tabindex: "-1" }, title),
    ...texts.filter(Boolean).map((text) => el("p", {}, text)),
  );
}

function paid(order, told) {
  const code = order.id.slice(-6).toUpperCase();
  if (order.state === "PART_REFUNDED") return verdict("good", w("partTitle"), told);
  if (!isGift(order)) return verdict("good", t("paidTitle"), t("paidText", { order: code }), told);
  const amount = money(order.total.amount_minor, order.total.currency);
  return verdict("good", w("giftPaid"), w("giftPaidText", { amount, order: code }), told);
}

function over(order) {
  const cancelled = order.state === "CANCELLED";
  if (isGift(order)) {
    const text = cancelled ? w("giftCancelledText") : w("giftExpiredText");
    return verdict("back", cancelled ? w("cancelledTitle") : w("giftExpired"), text);
  }
  if (cancelled) return verdict("back", w("cancelledTitle"), t("cancelledText"));
  return verdict("back", t("expiredTitle"), t("expiredText"));
}

function goingBack(order, told) {
  const minor = order.refund_pending_minor || order.total.amount_minor;
  const amount = money(minor, order.total.currency);
  if (order.state === "REFUND_FAILED") return verdict("wait", w("stuckTitle"), told ?? w("refund_failed"));
  return verdict("wait", t("refundTitle"), t("refundText", { amount }), order.notice === "refund_pending" ? null : told);
}

// A payment page at Stripe is open: the shopper may be paying there, and may also pay here after all.
export function paysElsewhere(order) {
  const { payment } = order;
  return order.state === "AWAITING_PAYMENT" && payment?.status === "requires_action" && !payment.client_secret;
}

// What to say once paying is no longer the shopper's move; null while it is.
export function outcome(order) {
  const told = order.notice ? w(order.notice) : null;
  switch (order.state) {
    case "RESERVED":
      return null;
    case "AWAITING_PAYMENT":
      // A payment is on its way, or we do not know: nobody is asked to pay once more.
      return IN_DOUBT.includes(order.payment?.status) ? verdict("wait", t("checkingTitle"), t("checkingText")) : null;
    case "PAID":
    case "PART_REFUNDED":
      return paid(order, told);
    case "EXPIRED":
    case "CANCELLED":
      return over(order);
    case "CANCELLING":
      return verdict("wait", w("closingTitle"), w("closingText"));
    case "REFUND_PENDING":
    case "REFUND_FAILED":
      return goingBack(order, told);
    case "REFUNDED":
      return verdict("back", t("refundedTitle"), t("refundedText"), told);
    case "DISPUTED":
      return verdict("wait", t("disputedTitle"), w("disputedText"));
    case "LATE_PAID":
      return verdict("wait", t("lateTitle"), t("lateText"));
    default:
      return verdict("wait", t("checkingTitle"), t("checkingText"));
  }
}
