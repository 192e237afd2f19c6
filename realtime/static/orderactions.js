// What a shopper, or the holder of an order's secret link, can do about it beside paying: cancel, ask back, change the
// address, say something, find it again, see and erase what is stored. Each is a folded part of its own.

import { Refusal, Unknown } from "./api.js";
import { confirmed, toast } from "./dialog.js";
import { WORDS_MAX, SaidWith } from "./donate.js";
import { el, replaceKept, say } from "./dom.js";
import { apart, timeAndDay } from "./i18n.js";
import { contactForm, isGift } from "./order.js";
import { w } from "./order_words.js";
import { t } from "./shop_words.js";

const CODES = [
  "already_paid",
  "payment_processing",
  "payment_disputed",
  "already_refunded",
  "contact_closed",
  "contact_in_use",
];
const CANCELLABLE = ["RESERVED", "AWAITING_PAYMENT"];
const REFUNDABLE = ["PAID", "PART_REFUNDED", "REFUND_FAILED"];
const ADDRESSED = ["RESERVED", "AWAITING_PAYMENT", "PROCESSING", "PAID", "PART_REFUNDED", "DISPUTED"];

export function saying(error) {
  if (error instanceof Unknown) return w("trouble");
  return CODES.includes(error.code) ? w(error.code) : t("refused", { detail: error.message });
}

// Run what a button stands for; the button rests meanwhile. Only what is known to be refused is said to be.
export async function act(button, work) {
  button.disabled = true;
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
    toast(saying(error), true);
    return false;
  } finally {
    button.disabled = false;
  }
}

function fold(id, title, ...nodes) {
  return el("details", { class: "card fold", id }, el("summary", {}, title), ...nodes);
}

export class OrderActions {
  // onChange: called when something was done that the next look at the order shows.
  constructor(access, nameOf, onChange) {
    Object.assign(this, { access, nameOf, onChange });
    this.node = el("div", { class: "doings" });
    this.asked = el("div", {});
    this.parts = new Map();
  }

  // A part stays the same for as long as the order allows it, and with it what is typed there.
  see(order) {
    const before = this.order;
    this.order = order;
    const makers = this.wanted();
    const kept = new Map(Object.entries(makers).map(([name, make]) => [name, this.parts.get(name) ?? make()]));
    const asks = kept.get("ask") && (!this.parts.has("ask") || before.state !== order.state || before.notice !== order.notice);
    if (!kept.has("ask")) this.asking = null;
    this.parts = kept;
    replaceKept(this.node, [...kept.values()]);
    if (kept.has("said")) this.seeSaid(kept.get("said"));
    if (asks) this.learnAsked();
  }

  wanted() {
    const { order } = this;
    const addressed = !isGift(order) && order.contact_given && order.fulfilment === "NONE" && ADDRESSED.includes(order.state);
    const saved = () => this.done("address", w("saved"));
    return {
      ...(CANCELLABLE.includes(order.state) && { cancel: () => this.cancelPart() }),
      ...(REFUNDABLE.includes(order.state) && { ask: () => fold("ask-back", w("askBack"), this.asked) }),
      ...(addressed && { address: () => fold("address", w("address"), contactForm(this.access, saved)) }),
      ...((isGift(order) || order.gifts?.length) && { said: () => this.saidPart() }),
      ...(!this.access.isHolder && { link: () => this.linkPart() }),
      data: () => this.dataPart(),
    };
  }

  // What was typed in that part has arrived: it begins anew.
  done(name, text) {
    this.parts.delete(name);
    toast(text);
    this.onChange();
  }

  cancelPart() {
    const gift = isGift(this.order);
    const button = el("button", { type: "button", class: "quiet wide", id: "cancel" }, w(gift ? "cancelGift" : "cancel"));
    button.addEventListener("click", async () => {
      const title = w(gift ? "cancelGiftTitle" : "cancelTitle");
      const text = w(gift ? "cancelGiftText" : "cancelText");
      if (!(await confirmed({ title, text, yes: w("cancelYes"), no: w("keep") }))) return;
      await act(button, () => this.access.ask("POST", "/cancel"));
      this.onChange();
    });
    return el("div", { class: "actions" }, button);
  }

  // --- asking back ----------------------------------------------------------------------------------------------

  async learnAsked() {
    try {
      const { items } = await this.access.ask("GET", "/refund-requests");
      const open = items.find((item) => item.state === "OPEN");
      const past = items.filter((item) => item.state !== "OPEN").map((item) => this.pastLine(item));
      this.asking = open ? null : (this.asking ?? this.askForm());
      replaceKept(this.asked, [this.asking ?? this.openRequest(open), ...past]);
      if (open) this.asked.closest("details").open = true;
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
      if (!this.asking) this.asked.replaceChildren(el("p", { class: "note" }, saying(error)));
    }
  }

  whatOf(item) {
    return item.lines.map((line) => `${apart(this.nameOf(line.sku))} × ${line.quantity}`).join(", ") || w("whole");
  }

  pastLine(item) {
    const told = { time: timeAndDay(item.created_at), what: this.whatOf(item), state: w(item.state) };
    return el("p", { class: "soft small gap" }, w("askedBefore", told));
  }

  openRequest(item) {
    const button = el("button", { type: "button", class: "quiet", id: "withdraw" }, w("withdraw"));
    button.addEventListener("click", async () => {
      if (await act(button, () => this.access.ask("DELETE", "/refund-requests"))) this.learnAsked();
    });
    return el("div", { class: "note", role: "status" }, el("p", {}, w("asked")), el("p", { class: "small" }, this.whatOf(item)), button);
  }

  askForm() {
    const { lines } = this.order;
    const some = el("input", { type: "radio", name: "what", value: "some" });
    const whole = el("input", { type: "radio", name: "what", value: "whole", checked: true });
    const units = lines.map((line) => {
      const field = el("input", { type: "number", min: 0, max: line.quantity, step: 1, value: 0, inputmode: "numeric" });
      return { line, field, node: el("label", {}, w("askUnits", { name: this.nameOf(line.sku) }), field) };
    });
    const picked = el("div", { hidden: true }, ...units.map((unit) => unit.node));
    const toggle = () => (picked.hidden = !some.checked);
    some.addEventListener("change", toggle);
    whole.addEventListener("change", toggle);
    const reason = el("textarea", { rows: 2, maxlength: 500 });
    const button = el("button", { type: "submit", class: "wide" }, w("askSend"));
    const send = async (event) => {
      event.preventDefault();
      const wanted = some.checked
        ? units.map(({ line, field }) => ({ sku: line.sku, quantity: Number(field.value) })).filter((one) => one.quantity)
        : [];
      if (some.checked && !wanted.length) return toast(w("askNothing"), true);
      const body = { lines: wanted, ...(reason.value.trim() && { reason: reason.value.trim() }) };
      if (await act(button, () => this.access.ask("POST", "/refund-requests", { body }))) this.asking = null;
      return this.learnAsked();
    };
    const choice = (input, text) => el("label", { class: "check" }, input, el("span", {}, text));
    const choose = lines.length ? [choice(whole, w("askWhole")), choice(some, w("askSome")), picked] : [];
    const why = el("label", {}, w("askReason"), reason);
    return el("form", { onsubmit: send, novalidate: true }, ...choose, why, el("p", { class: "gap" }, button));
  }

  // --- words, link, data ----------------------------------------------------------------------------------------

  saidPart() {
    const said = new SaidWith();
    const save = el("button", { type: "submit" }, t("save"));
    const erase = el("button", { type: "button", class: "quiet" }, w("saidErase"));
    const send = async (event) => {
      event.preventDefault();
      const trouble = said.trouble();
      const body = said.body();
      const empty = !Object.keys(WORDS_MAX).some((name) => body[name]);
      if (trouble || empty) return toast(trouble ?? t("missing"), true);
      return (await act(save, () => this.access.ask("PUT", "/message", { body }))) && this.done("said", w("saved"));
    };
    erase.addEventListener("click", async () => {
      if (await act(erase, () => this.access.ask("DELETE", "/message"))) this.done("said", w("erased"));
    });
    const form = el("form", { onsubmit: send, novalidate: true }, ...said.nodes, el("div", { class: "buttons" }, save, erase));
    return fold("said", "", el("p", { class: "soft verdict-of-words" }), form);
  }

  // A verdict on the words may come while others are being typed.
  seeSaid(part) {
    const { display } = this.order;
    say(part.querySelector("summary"), w(display ? "saidChange" : "said"));
    say(part.querySelector(".verdict-of-words"), display ? w(display) : "");
    part.querySelector(".buttons button.quiet").hidden = !display;
  }

  linkPart() {
    const url = el("p", { class: "secret", id: "order-link", hidden: true });
    const copy = el("button", { type: "button", hidden: true }, w("copy"));
    const button = el("button", { type: "button", class: "quiet" }, w("linkShow"));
    button.addEventListener("click", () =>
      act(button, async () => {
        url.textContent = (await this.access.ask("GET", "/link")).url;
        url.hidden = copy.hidden = false;
        button.hidden = true;
      }),
    );
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(url.textContent);
        toast(w("copied"));
      } catch {
        // Without the clipboard (plain http) it is selected, to be copied by hand.
        getSelection().selectAllChildren(url);
      }
    });
    return fold("link", w("link"), el("p", { class: "soft small" }, w("linkText")), url, el("div", { class: "buttons" }, button, copy));
  }

  dataPart() {
    const load = el("button", { type: "button", class: "quiet" }, w("download"));
    load.addEventListener("click", () => act(load, async () => this.download(await this.access.ask("GET", "/data"))));
    const erase = el("button", { type: "button", class: "quiet", id: "erase" }, w("erase"));
    erase.addEventListener("click", async () => {
      const words = { title: w("eraseTitle"), text: w("eraseText"), yes: w("eraseYes"), no: w("keep") };
      if (!(await confirmed(words))) return;
      if (await act(erase, () => this.access.ask("DELETE", "/data"))) this.done("data", w("erased"));
    });
    const text = el("p", { class: "soft small" }, w("dataText"));
    return fold("data", w("data"), text, el("div", { class: "buttons" }, load, erase));
  }

  download(data) {
    const file = new Blob([JSON.stringify(data, null, 2)], { type: "application/json" });
    const href = URL.createObjectURL(file);
    const link = el("a", { href, download: `${this.order.id}.json`, hidden: true });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  }
}
