// An order after it was placed, told from its state alone: address, place in the payment queue, clock, outcome.
// The shop and the pay page share it. What is not known is "checking"; "failed" is not among the words.

import { Refusal, Unknown, serverNow, sleep } from "./api.js";
import { el } from "./dom.js";
import { clock, count } from "./i18n.js";
import { money } from "./money.js";
import { asShopper } from "./shopper.js";
import { t } from "./shop_words.js";

export const FINAL = ["PAID", "EXPIRED", "CANCELLED", "REFUNDED", "PART_REFUNDED"];
const IN_DOUBT = ["checking", "processing", "succeeded"];
const SHORTEST = { name: 1, contact: 3, address: 5 };
const STEP_OF = { RESERVED: 1, AWAITING_PAYMENT: 2, PROCESSING: 2, EXPIRING: 2, PAID: 4 };

export function readOrder(orderId) {
  return asShopper("GET", `/orders/${encodeURIComponent(orderId)}`);
}

// Ask for the order until it is final: every second near its turn, every five when the turn is minutes away.
export async function follow(orderId, onOrder, onTrouble, isStopped) {
  let hurried = 0;
  while (!isStopped()) {
    try {
      const order = await readOrder(orderId);
      if (isStopped()) return;
      hurried = order.state === "RESERVED" ? Math.min(5, Math.max(1, (order.minutes ?? 0) * 2)) : 1.2;
      onTrouble(null);
      onOrder(order);
      if (FINAL.includes(order.state)) hurried = 15;
    } catch (error) {
      if (error instanceof Refusal && error.status !== 425) return onTrouble(error);
      onTrouble(error);
      hurried = Math.max(2, (error.retryAfterMs ?? 0) / 1000);
    }
    await sleep(hurried * 1000 * (0.85 + Math.random() * 0.3));
  }
}

export function steps(order) {
  if (["EXPIRED", "CANCELLED"].includes(order.state)) return "";
  const done = order.state === "RESERVED" && order.contact_given ? 2 : (STEP_OF[order.state] ?? 4);
  const here = order.state === "AWAITING_PAYMENT" && !order.contact_given ? 1 : done;
  return el(
    "ol",
    { class: "steps" },
    ...[1, 2, 3, 4].map((n) =>
      el("li", { class: n <= here ? "done" : "", "aria-current": n === here + 1 ? "step" : null }, t(`step${n}`)),
    ),
  );
}

export function summary(order, nameOf) {
  const rows = order.lines.map((line) =>
    el(
      "li",
      {},
      el("span", {}, `${nameOf(line.sku)} × ${count(line.quantity)}`),
      el("span", { class: "num" }, money(line.amount_minor, order.total.currency)),
    ),
  );
  const total = el(
    "li",
    { class: "total" },
    el("span", {}, t("total")),
    el("span", { class: "num" }, money(order.total.amount_minor, order.total.currency)),
  );
  return el("ul", { class: "lines" }, ...rows, total);
}

export function contactForm(order, onSaved) {
  const problem = el("p", { class: "note bad", role: "alert", hidden: true });
  const button = el("button", { class: "wide", type: "submit" }, t("save"));
  const field = (name, attributes, tag = "input") =>
    el("label", {}, t(name), el(tag, { name, required: true, "aria-required": "true", ...attributes }));
  const send = async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(["name", "contact", "address"].map((key) => [key, form.elements[key].value.trim()]));
    const empty = Object.keys(values).find((key) => values[key].length < SHORTEST[key]);
    if (empty) {
      form.elements[empty].focus();
      problem.textContent = t("missing");
      problem.hidden = false;
      return;
    }
    button.disabled = true;
    button.textContent = t("saving");
    try {
      await asShopper("PUT", `/orders/${encodeURIComponent(order.id)}/contact`, { body: values });
      onSaved();
    } catch (error) {
      problem.textContent = error instanceof Unknown ? t("offline") : t("refused", { detail: error.message });
      problem.hidden = false;
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
    problem,
    button,
  );
  return form;
}

export function secondsLeft(order) {
  return order.pay_by ? (Date.parse(order.pay_by) - serverNow()) / 1000 : null;
}

// The clock a shopper pays against: the server's, also on a phone whose own is wrong.
export function payClock(order) {
  const node = el("span", { class: "num clock", role: "timer" });
  const tick = () => {
    node.textContent = t("payBy", { clock: clock(secondsLeft(order)) });
    node.classList.toggle("short", secondsLeft(order) < 60);
    if (node.isConnected || !node.dataset.shown) setTimeout(tick, 500);
    if (node.isConnected) node.dataset.shown = "1";
  };
  tick();
  return node;
}

function verdict(kind, title, text) {
  const mark = { good: "✓", wait: "…", back: "↩" }[kind];
  return el(
    "div",
    { class: `verdict ${kind}` },
    el("span", { class: "sign", "aria-hidden": "true" }, mark),
    el("h1", { tabindex: "-1" }, title),
    el("p", {}, text),
  );
}

// What to say once paying is no longer the shopper's move; null while it is.
export function outcome(order) {
  const amount = money(order.total.amount_minor, order.total.currency);
  switch (order.state) {
    case "RESERVED":
      return null;
    case "AWAITING_PAYMENT":
      // A payment is on its way, or we do not know: nobody is asked to pay once more.
      return IN_DOUBT.includes(order.payment?.status) ? verdict("wait", t("checkingTitle"), t("checkingText")) : null;
    case "PAID":
    case "PART_REFUNDED":
      return verdict("good", t("paidTitle"), t("paidText", { order: order.id.slice(-6).toUpperCase() }));
    case "EXPIRED":
      return verdict("back", t("expiredTitle"), t("expiredText"));
    case "CANCELLED":
      return verdict("back", t("expiredTitle"), t("cancelledText"));
    case "REFUND_PENDING":
    case "REFUND_FAILED":
      return verdict("wait", t("refundTitle"), t("refundText", { amount }));
    case "REFUNDED":
      return verdict("back", t("refundedTitle"), t("refundedText"));
    case "DISPUTED":
      return verdict("wait", t("disputedTitle"), t("disputedText"));
    case "LATE_PAID":
      return verdict("wait", t("lateTitle"), t("lateText"));
    default:
      return verdict("wait", t("checkingTitle"), t("checkingText"));
  }
}
