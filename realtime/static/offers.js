// The stall: one card an offer, kept in place and only updated, so that a tap never lands on something that moved.

import { announce } from "./announce.js";
import { productArt } from "./art.js";
import { el, say } from "./dom.js";
import { count, named } from "./i18n.js";
import { money } from "./money.js";
import { Order } from "./stallorder.js";
import { t } from "./shop_words.js";

const LOW_BP = 1_000;
const TERMS = ["price_minor", "farmer_minor", "beneficiary_minor", "opens_at"];

export class Stall {
  constructor(front, onBasket) {
    this.front = front;
    this.onBasket = onBasket;
    this.basket = new Map();
    this.stock = new Map();
    this.cards = new Map();
    this.closed = false;
    this.node = el("div", { class: "stall" }, ...front.offers.map((offer) => this.card(offer)));
    this.order = new Order(this.node);
    // With one thing on the stall there is nothing to choose: it lies in the basket already.
    for (const offer of front.offers) this.put(offer, front.offers.length === 1 ? 1 : 0);
  }

  lines() {
    return [...this.basket].map(([sku, quantity]) => ({ sku, quantity }));
  }

  offerOf(sku) {
    return this.front.offers.find((one) => one.sku === sku);
  }

  nameOf(sku) {
    const offer = this.offerOf(sku);
    return offer ? named(offer) : sku;
  }

  clear() {
    for (const offer of this.front.offers) this.put(offer, 0);
  }

  put(offer, quantity) {
    const parts = this.cards.get(offer.sku);
    const most = offer.per_shopper_max;
    const kept = Math.max(0, Math.min(quantity, most));
    // What it cost when it was chosen, to tell whoever chose it should that change.
    if (kept && !this.basket.has(offer.sku)) parts.chosenMinor = offer.price_minor;
    if (kept) this.basket.set(offer.sku, kept);
    else this.basket.delete(offer.sku);
    const { minus, output, plus } = parts;
    minus.hidden = output.hidden = kept === 0;
    say(output, count(kept));
    say(plus, kept ? "+" : t("add"));
    plus.setAttribute("aria-label", t(kept ? "more" : "addOne", { name: named(offer) }));
    plus.classList.toggle("first", !kept);
    plus.disabled = kept >= most || parts.finished === true || this.closed;
    this.paintLimit(offer);
    this.onBasket();
  }

  // Nothing is sold any more.
  close() {
    if (this.closed) return;
    this.closed = true;
    this.clear();
  }

  card(offer) {
    const name = named(offer);
    const id = `offer-${offer.sku}`;
    const quantity = () => this.basket.get(offer.sku) ?? 0;
    const step = (by, text, label) =>
      el("button", { type: "button", "aria-label": label, onclick: () => this.put(offer, quantity() + by) }, text);
    const parts = {
      minus: step(-1, "−", t("fewer", { name })),
      output: el("output", { class: "num", "aria-labelledby": id }, "0"),
      plus: step(1, "+"),
      left: el("b", { class: "num" }),
      total: el("span", { class: "soft small num" }),
      bar: el("i"),
      price: el("span"),
      limit: el("p", { class: "soft small limit" }),
      share: el("div", { class: "share" }),
      title: el("h2", { id, tabindex: "-1" }, name),
      chosenMinor: offer.price_minor,
    };
    parts.card = el(
      "article",
      { class: "card offer", "data-sku": offer.sku, "aria-labelledby": id },
      productArt(offer.sku, `${offer.name} ${offer.name_zh ?? ""}`),
      this.facts(offer, parts),
      parts.share,
      el(
        "div",
        { class: "take" },
        el("div", { class: "stock" }, parts.left, " ", parts.total, el("div", { class: "bar", "aria-hidden": "true" }, parts.bar)),
        el("div", { class: "stepper" }, parts.minus, parts.output, parts.plus),
      ),
    );
    this.cards.set(offer.sku, parts);
    this.paintTerms(offer);
    return parts.card;
  }

  facts(offer, { title, price, limit }) {
    const from = t("from", { farmer: named(offer.farmer), place: offer.farmer.place });
    const unit = t("per", { unit: named(offer, "unit") });
    return el(
      "div",
      {},
      title,
      el("p", { class: "soft small" }, from),
      el("p", { class: "price num" }, price, " ", el("small", {}, unit)),
      limit,
    );
  }

  paintTerms(offer) {
    const { price, share } = this.cards.get(offer.sku);
    say(price, money(offer.price_minor, this.front.currency));
    share.replaceChildren(...this.shares(offer));
    this.paintLimit(offer);
  }

  paintLimit(offer) {
    const { limit, chosenMinor } = this.cards.get(offer.sku);
    const changed = this.basket.has(offer.sku) && chosenMinor !== offer.price_minor;
    const was = t("wasPrice", { amount: money(chosenMinor, this.front.currency) });
    say(limit, [changed ? was : "", t("limit", { limit: count(offer.per_shopper_max) })].filter(Boolean).join(" · "));
  }

  shares(offer) {
    const currency = this.front.currency;
    const bar = el("div", { class: "parts", "aria-hidden": "true" });
    const fees = offer.price_minor - offer.beneficiary_minor - offer.farmer_minor;
    for (const [part, minor] of [["gift", offer.beneficiary_minor], ["income", offer.farmer_minor], ["fees", fees]]) {
      const piece = el("i", { class: part });
      piece.style.setProperty("flex-grow", String(minor / offer.price_minor));
      bar.append(piece);
    }
    const text = t("share", {
      unit: named(offer, "unit"),
      cause: named(offer.beneficiary),
      gift: money(offer.beneficiary_minor, currency),
      income: money(offer.farmer_minor, currency),
    });
    return [bar, el("p", { class: "small" }, text)];
  }

  // Take the terms that hold now; returns what changed of things in the basket, and tells of the rest.
  reprice(cards) {
    const changed = [];
    for (const card of cards) {
      const offer = this.offerOf(card.sku);
      if (!offer || TERMS.every((term) => offer[term] === card[term])) continue;
      const amount = (minor) => money(minor, this.front.currency);
      const before = offer.price_minor;
      for (const term of TERMS) offer[term] = card[term];
      this.paintTerms(offer);
      if (before === offer.price_minor) continue;
      const told = { name: named(offer), before: amount(before), after: amount(offer.price_minor) };
      if (this.basket.has(offer.sku)) changed.push(told);
      else announce(t("priceNow", told));
    }
    return changed;
  }

  // Put up what the host added while the page was open, below the rest.
  add(offers) {
    const fresh = offers.filter((offer) => !this.cards.has(offer.sku));
    for (const offer of fresh) {
      this.front.offers.push(offer);
      this.node.append(this.card(offer));
      this.put(offer, 0);
    }
    this.order.learn();
    return fresh.length > 0;
  }

  pin(sku) {
    for (const [each, { card }] of this.cards) {
      const here = each === sku;
      card.classList.toggle("pinned", here);
      if (!here) card.querySelector(".onstream")?.remove();
      else if (!card.querySelector(".onstream")) card.prepend(el("span", { class: "onstream" }, t("onStream")));
    }
    this.order.first = this.cards.get(sku)?.card ?? null;
  }

  goTo(sku) {
    const parts = this.cards.get(sku);
    parts?.card.scrollIntoView({ block: "center" });
    parts?.title.focus({ preventScroll: true });
  }

  // Show what the newest stock says; returns whether units came back of something that was all gone.
  see(items) {
    let cameBack = false;
    for (const item of items) {
      const before = this.stock.get(item.sku);
      this.stock.set(item.sku, item);
      cameBack ||= before?.left === 0 && item.left > 0;
      const parts = this.cards.get(item.sku);
      if (!parts) continue;
      const gone = item.left === 0;
      const leftBp = item.total ? (item.left * 10_000) / item.total : 0;
      const level = gone ? (item.reserved > 0 ? "held" : "gone") : leftBp <= LOW_BP ? "low" : "plenty";
      say(parts.left, gone ? t(level === "held" ? "allHeld" : "soldOut") : t("left", { left: count(item.left) }));
      say(parts.total, gone ? "" : t("ofTotal", { total: count(item.total) }));
      parts.bar.style.setProperty("--part", `${leftBp / 100}%`);
      parts.card.classList.toggle("low", level === "low");
      parts.card.classList.toggle("gone", gone);
      parts.finished = level === "gone";
      if (parts.level !== undefined && parts.level !== level && level !== "plenty") {
        announce(t(`${level}Said`, { name: this.nameOf(item.sku), left: count(item.left) }));
      }
      parts.level = level;
      this.put(this.offerOf(item.sku), this.basket.get(item.sku) ?? 0);
    }
    return cameBack;
  }

  isGone(sku) {
    const item = this.stock.get(sku);
    return item !== undefined && item.left === 0 && item.reserved === 0;
  }

  // Whether the basket asks for something that is gone for good, or there is nothing left to ask for.
  isSoldOut() {
    return this.lines().some(({ sku }) => this.isGone(sku)) || this.isAllGone();
  }

  isAllGone() {
    return this.front.offers.length > 0 && this.front.offers.every(({ sku }) => this.isGone(sku));
  }
}
