// The console's money panel, folded away until somebody needs it: what was asked back, an order's whole life and its
// refund, and the sponsors' matches.

import { Refusal, Unknown } from "../api.js";
import { confirmed } from "../dialog.js";
import { el, say } from "../dom.js";
import { count, locale, named, timeAndDay } from "../i18n.js";
import { money } from "../money.js";
import { m } from "./money_words.js";
import { matchText } from "../promises.js";
import { RefundForm, giveBack, reasonSelect, shortId, sure, whatOf } from "./refundform.js";

const REQUESTS_MAX = 100;

export class MoneyDesk {
  // api(method, path, body, headers) and act(button, work, doneText): the console's.
  constructor({ stream, front, api, act }) {
    Object.assign(this, { stream, front, api, act });
    this.names = new Map(front.offers.map((offer) => [offer.sku, named(offer)]));
    this.badge = el("span", { class: "badge live", hidden: true, id: "to-decide" });
    this.figures = {};
    const figures = ["gifts", "giftsMinor", "matched"].map((name) => {
      this.figures[name] = el("dd", { id: `money-${name}` }, "—");
      return el("div", {}, el("dt", {}, m(name)), this.figures[name]);
    });
    // Not every tally tells its parts.
    this.known = el("dl", { class: "figures", hidden: true }, ...figures);
    this.requests = el("div", { id: "requests" });
    this.found = el("div", { id: "found", "aria-live": "polite" });
    this.matches = el("ul", { class: "plain", id: "matches" });
    this.node = el(
      "details",
      { class: "card fold", id: "money" },
      el("summary", {}, m("title"), " ", this.badge),
      this.known,
      el("div", { class: "desk" }, el("div", {}, this.requestsPart(), this.matchesPart()), this.lookUpPart()),
    );
    this.node.addEventListener("toggle", () => this.look());
  }

  nameOf = (sku) => this.names.get(sku) ?? sku;

  // A tally's frame: parts of what was raised.
  take({ gifts, gifts_minor: given, matched_minor: matched, currency }) {
    if (gifts === undefined) return;
    this.known.hidden = false;
    say(this.figures.gifts, count(gifts));
    say(this.figures.giftsMinor, money(given, currency));
    say(this.figures.matched, money(matched, currency));
  }

  // Look anew; the list of wishes also while the panel is folded, because its number stands on it.
  async look() {
    try {
      await this.lookAtRequests();
      if (this.node.open) await this.lookAtMatches();
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
      // The next look tells.
    }
  }

  // --- what was asked back --------------------------------------------------------------------------------------

  requestsPart() {
    return el("section", {}, el("h2", {}, m("requests")), this.requests);
  }

  async lookAtRequests() {
    const path = `/streams/${encodeURIComponent(this.stream.id)}/refund-requests?limit=${REQUESTS_MAX}`;
    const { items, next } = await this.api("GET", path);
    this.badge.hidden = items.length === 0;
    say(this.badge, m("open", { n: count(items.length) + (next ? "+" : "") }));
    const ids = items.map((item) => item.id).join();
    if (ids === this.shownIds) return;
    this.shownIds = ids;
    const none = el("p", { class: "soft" }, m("noRequests"));
    this.requests.replaceChildren(...(items.length ? items.map((item) => this.requestCard(item)) : [none]));
  }

  requestCard(item) {
    const restock = el("input", { type: "checkbox" });
    const reason = reasonSelect();
    const button = (word, kind, work) => {
      const node = el("button", { type: "button", class: kind, "data-do": word }, m(word));
      node.addEventListener("click", () => work(node));
      return node;
    };
    const words = item.reason ? el("blockquote", { class: "lined" }, item.reason) : el("p", { class: "soft" }, m("noWords"));
    const told = `${m("order", { order: shortId(item.order_id) })} · ${timeAndDay(item.created_at)}`;
    return el(
      "article",
      { class: "request", "data-request": item.id },
      el("h3", {}, whatOf(item.lines, this.nameOf) || m("whole")),
      el("p", { class: "soft small" }, told),
      words,
      el("label", {}, m("reason"), reason),
      el("label", { class: "check" }, restock, el("span", {}, m("restock"))),
      el(
        "div",
        { class: "buttons" },
        button("accept", "", (node) => this.accept(node, item, restock.checked, reason.value)),
        button("decline", "quiet", (node) => this.decline(node, item)),
        button("look", "quiet", () => this.show(item.order_id)),
      ),
    );
  }

  async accept(button, item, restock, reason) {
    const path = `/orders/${encodeURIComponent(item.order_id)}`;
    let order = null;
    let left = null;
    const read = async () => {
      [order, left] = [await this.api("GET", path), await this.api("GET", `${path}/refunds`)];
    };
    await this.act(button, read, () => null);
    if (!left) return;
    const unit = new Map(order.lines.map((line) => [line.sku, line.unit_minor]));
    const some = item.lines.reduce((sum, line) => sum + unit.get(line.sku) * line.quantity, 0);
    const amountMinor = item.lines.length ? some : left.refundable.amount_minor;
    const what = whatOf(item.lines, this.nameOf) || m("all");
    if (!(await sure({ order, amountMinor, what, restock, units: order.lines.length > 0 }))) return;
    const target = item.lines.length ? { lines: item.lines } : { all: true };
    const body = { ...target, reason, restock: restock && order.lines.length > 0, request_id: item.id };
    const done = ({ refund }) => m("done", { amount: money(refund.amount.amount_minor, refund.amount.currency) });
    await this.act(button, () => giveBack(this.api, item.order_id, body), done);
    await this.look();
  }

  async decline(button, item) {
    const words = { title: m("declineTitle"), text: m("declineText"), yes: m("declineYes"), no: m("not") };
    if (!(await confirmed(words))) return;
    const path = `/orders/${encodeURIComponent(item.order_id)}/refund-requests/${encodeURIComponent(item.id)}/decline`;
    await this.act(button, () => this.api("POST", path), () => m("declined"));
    await this.look();
  }

  // --- one order ------------------------------------------------------------------------------------------------

  lookUpPart() {
    const input = el("input", { autocomplete: "off", spellcheck: "false", maxlength: 60, id: "find-order" });
    const button = el("button", { type: "submit" }, m("findGo"));
    const send = (event) => {
      event.preventDefault();
      this.show(input.value.trim(), button);
    };
    const form = el("form", { class: "inline", onsubmit: send }, el("label", {}, m("findLabel"), input), button);
    return el("section", {}, el("h2", {}, m("find")), form, this.found);
  }

  async show(orderId, button = el("button", {})) {
    if (!/^ord_[0-9a-z]{1,40}$/.test(orderId)) {
      this.found.replaceChildren(el("p", { class: "note bad" }, m("findBad")));
      return;
    }
    const path = `/orders/${encodeURIComponent(orderId)}`;
    const read = async () => {
      const lang = locale === "zh-CN" ? "zh" : "en";
      const [order, life, refunds] = [
        await this.api("GET", path),
        await this.api("GET", `${path}/explain?lang=${lang}`),
        await this.api("GET", `${path}/refunds`),
      ];
      this.found.replaceChildren(...this.lifeOf(order, life, refunds));
      this.found.scrollIntoView({ block: "nearest" });
    };
    const missing = (error) => {
      if (!(error instanceof Refusal) || error.status !== 404) throw error;
      this.found.replaceChildren(el("p", { class: "note bad" }, m("notFound")));
    };
    await this.act(button, () => read().catch(missing), () => null);
  }

  lifeOf(order, life, refunds) {
    const { currency } = order.total;
    const left = refunds.refundable?.amount_minor ?? 0;
    const sums = { received: life.received_minor, returned: life.refunded_minor, disputed: life.disputed_minor, left };
    const figures = Object.entries(sums).map(([name, minor]) =>
      el("div", {}, el("dt", {}, m(name)), el("dd", {}, money(minor, currency))),
    );
    const rows = life.items.map((item) =>
      el("li", {}, el("span", { class: "soft small num" }, timeAndDay(item.at)), " ", el("span", {}, item.text)),
    );
    const onDone = () => Promise.all([this.show(order.id), this.look()]);
    const form = left ? new RefundForm({ ...this, order, leftMinor: left, nameOf: this.nameOf, onDone }).node : "";
    return [
      el("h3", {}, `${m("order", { order: shortId(order.id) })} · ${money(order.total.amount_minor, currency)}`),
      el("dl", { class: "figures" }, ...figures),
      form,
      el("details", { class: "inner", open: !left }, el("summary", {}, m("life")), el("ol", { class: "life" }, ...rows)),
      life.complete ? "" : el("p", { class: "note" }, m("incomplete")),
    ];
  }

  // --- sponsors -------------------------------------------------------------------------------------------------

  matchesPart() {
    return el("section", {}, el("h2", {}, m("matches")), this.matches);
  }

  async lookAtMatches() {
    const campaign = encodeURIComponent(this.front.campaign.id);
    const { items } = await this.api("GET", `/campaigns/${campaign}/matches?limit=100`);
    const now = Date.now();
    const rows = items.map((match) => {
      const over = match.ends_at && Date.parse(match.ends_at) <= now;
      const word = over ? m("ended") : Date.parse(match.starts_at) > now ? m("later") : null;
      return el("li", { class: over ? "soft" : "" }, matchText(match, this.front.currency), " ", word ? el("span", { class: "badge" }, word) : "");
    });
    const none = el("li", { class: "soft" }, m("noMatches"));
    this.matches.replaceChildren(...(rows.length ? rows : [none]));
  }
}
