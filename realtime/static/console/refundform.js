// Give money of one order back: all, by units, by amount, or the gifts. What is about to happen is said with its
// amount before it does, and a request that may have arrived is repeated under its own key, so it counts once.

import { Refusal } from "../api.js";
import { confirmed } from "../dialog.js";
import { el } from "../dom.js";
import { apart, count } from "../i18n.js";
import { minorOf, money } from "../money.js";
import { sendOnce } from "./act.js";
import { m } from "./money_words.js";

export const REASONS = ["goodwill", "quality", "not_shipped", "bought_twice", "fraud", "other"];

export function reasonSelect() {
  return el("select", {}, ...REASONS.map((reason) => el("option", { value: reason }, m(reason))));
}

export function shortId(orderId) {
  return orderId.slice(-6).toUpperCase();
}

// api: the console's. Resolves to the answer; throws Refusal or Unknown like any call.
export function giveBack(api, orderId, body) {
  return sendOnce(api, `/orders/${encodeURIComponent(orderId)}/refunds`, body);
}

export function whatOf(lines, nameOf) {
  return lines.map((line) => `${apart(nameOf(line.sku))} × ${count(line.quantity)}`).join(", ");
}

// Ask before money goes back. amountMinor null: all that is left of the gifts.
export function sure({ order, amountMinor, what, restock, units }) {
  const amount = amountMinor === null ? null : money(amountMinor, order.total.currency);
  const stock = units ? m(restock ? "stockBack" : "stockNot") : "";
  return confirmed({
    title: amount === null ? m("sureGifts") : m("sureTitle", { amount }),
    text: m("sureText", { what, order: shortId(order.id), stock }),
    yes: m("sureYes"),
    no: m("not"),
  });
}

export class RefundForm {
  constructor({ order, leftMinor, nameOf, api, act, onDone }) {
    Object.assign(this, { order, leftMinor, nameOf, api, act, onDone });
    const { currency } = order.total;
    const choices = ["all", ...(order.lines.length ? ["lines"] : []), "amount", ...(order.gifts?.length ? ["gift"] : [])];
    this.radios = choices.map((choice) => el("input", { type: "radio", name: "what-back", value: choice, checked: choice === "all" }));
    this.units = order.lines.map((line) => {
      const most = count(line.quantity);
      const field = el("input", { type: "number", min: 0, max: line.quantity, step: 1, value: 0, inputmode: "numeric" });
      return { line, field, node: el("label", {}, m("unitsLabel", { name: nameOf(line.sku), most }), field) };
    });
    this.amount = el("input", { inputmode: "decimal", autocomplete: "off", maxlength: 16 });
    this.restock = el("input", { type: "checkbox" });
    this.reason = reasonSelect();
    this.button = el("button", { type: "submit", id: "refund" }, m("go"));
    this.unitPart = el("div", {}, ...this.units.map((unit) => unit.node));
    this.amountPart = el("label", {}, m("amountLabel", { currency }), this.amount);
    this.restockPart = el("label", { class: "check" }, this.restock, el("span", {}, m("restock")));
    const submit = (event) => {
      event.preventDefault();
      this.send();
    };
    this.node = el(
      "form",
      { onsubmit: submit, novalidate: true, onchange: () => this.paint() },
      el("h3", {}, m("refund")),
      ...this.radios.map((radio) => el("label", { class: "check" }, radio, el("span", {}, m(radio.value)))),
      this.unitPart,
      this.amountPart,
      this.restockPart,
      el("label", {}, m("reason"), this.reason),
      el("div", { class: "buttons" }, this.button),
    );
    this.paint();
  }

  choice() {
    return this.radios.find((radio) => radio.checked).value;
  }

  paint() {
    const choice = this.choice();
    this.unitPart.hidden = choice !== "lines";
    this.amountPart.hidden = choice !== "amount";
    this.restockPart.hidden = !this.order.lines.length || !["all", "lines"].includes(choice);
  }

  // {body, amountMinor, what, units}, or null while something is missing.
  wish() {
    const restock = !this.restockPart.hidden && this.restock.checked;
    const common = { reason: this.reason.value };
    switch (this.choice()) {
      case "all":
        return { body: { all: true, restock, ...common }, amountMinor: this.leftMinor, what: m("all"), units: this.units.length > 0 };
      case "lines": {
        const picked = this.units.map(({ line, field }) => ({ line, quantity: Number(field.value) })).filter((one) => one.quantity);
        const lines = picked.map(({ line, quantity }) => ({ sku: line.sku, quantity }));
        const amountMinor = picked.reduce((sum, { line, quantity }) => sum + line.unit_minor * quantity, 0);
        return lines.length ? { body: { lines, restock, ...common }, amountMinor, what: whatOf(lines, this.nameOf), units: true } : null;
      }
      case "gift":
        return { body: { gift: true, ...common }, amountMinor: null, what: m("gift"), units: false };
      default: {
        const minor = minorOf(this.amount.value, this.order.total.currency);
        return minor ? { body: { amount_minor: minor, ...common }, amountMinor: minor, what: m("amount"), units: false } : null;
      }
    }
  }

  async send() {
    const wish = this.wish();
    if (!wish) return this.act(this.button, () => Promise.reject(new Refusal(422, { detail: m("nothing") })));
    const { body, ...told } = wish;
    if (!(await sure({ order: this.order, restock: body.restock, ...told }))) return null;
    const done = (answer) => m("done", { amount: money(answer.refund.amount.amount_minor, answer.refund.amount.currency) });
    await this.act(this.button, () => giveBack(this.api, this.order.id, body), done);
    return this.onDone();
  }
}
