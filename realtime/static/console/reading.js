// Messages to read aloud: the next one large, with how long it takes to say it; read it, keep it for later, or pass.

import { Refusal, Unknown } from "../api.js";
import { el, say } from "../dom.js";
import { count, translator } from "../i18n.js";
import { money } from "../money.js";
import { reasonOf } from "./act.js";
import { button, card } from "./panel.js";
import { t } from "./words.js";

const w = translator({
  title: ["To read aloud", "口播留言"],
  none: ["Nothing to read. Approved messages come here.", "暂无可读留言，审核通过后显示在此。"],
  unread: ["{n} unread", "{n} 条未读"],
  takes: ["about {age} to read", "朗读约 {age}"],
  read: ["Read, next", "已读，下一条"],
  done: ["Read", "已读"],
  pin: ["Keep for later", "稍后再读"],
  skip: ["Skip", "跳过"],
  back: ["Back to the queue", "放回队列"],
  pinned: ["Kept for later", "稍后再读"],
  someone: ["somebody", "匿名"],
  to: ["for {who}", "致 {who}"],
});
const NEXT_SHOWN = 3;

// What a message says, in one node; flags are marked in words, not by colour alone.
export function sayings(item) {
  const { dedication, message } = item;
  return [
    message ? el("blockquote", { class: "lined", dir: "auto" }, message) : "",
    dedication ? el("p", { class: "soft", dir: "auto" }, w("to", { who: dedication })) : "",
  ];
}

export function who(item) {
  const amount = item.amount_minor === undefined ? "" : ` · ${money(item.amount_minor, item.currency)}`;
  return el("span", {}, el("bdi", {}, item.name ?? w("someone")), amount);
}

export class ReadingPanel {
  constructor(desk) {
    this.desk = desk;
    this.items = [];
    this.badge = el("span", { class: "badge num", id: "unread", "aria-live": "polite" });
    this.next = el("article", { class: "reading", id: "reading" });
    this.later = el("ul", { class: "plain", id: "reading-later" });
    this.read = button("read", w("read"), (node) => this.mark(node, this.items[0], "read"), { kind: "", key: "n" });
    this.keep = button("keep", w("pin"), (node) => this.mark(node, this.items[0], "pinned"), { key: "i" });
    this.skip = button("pass-by", w("skip"), (node) => this.mark(node, this.items[0], "skipped"), { key: "b" });
    this.buttons = el("div", { class: "buttons" }, this.read, this.keep, this.skip);
    this.pinned = el("ul", { class: "plain", id: "reading-pinned" });
    this.pinnedPart = el("div", { hidden: true }, el("h3", {}, w("pinned")), this.pinned);
    this.node = card(w("title"), { id: "to-read", aside: this.badge }, this.next, this.buttons, this.later, this.pinnedPart);
    this.paint();
  }

  take(part, state) {
    if (part !== "review") return;
    say(this.badge, w("unread", { n: count(state.unread) }));
    // Each change of the queue is a new revision; several at once are one look.
    if (state.revision !== this.revision) {
      this.revision = state.revision;
      this.lookSoon();
    }
  }

  lookSoon() {
    this.again ??= setTimeout(() => {
      this.again = null;
      this.look();
    }, 150);
  }

  async look() {
    try {
      const ask = (state) => this.desk.api("GET", this.desk.path(`/reading?state=${state}&limit=20`));
      const [unread, pinned] = [await ask("unread"), await ask("pinned")];
      this.items = unread.items;
      this.kept = pinned.items;
      this.paint();
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
      this.paint(reasonOf(error));
    }
  }

  paint(trouble = null) {
    const [first, ...rest] = this.items;
    this.buttons.hidden = !first;
    const nothing = el("p", { class: "soft" }, trouble ?? w("none"));
    this.next.replaceChildren(...(first ? this.large(first) : [nothing]));
    this.later.replaceChildren(...rest.slice(0, NEXT_SHOWN).map((item) => this.small(item)));
    this.pinnedPart.hidden = !this.kept?.length;
    this.pinned.replaceChildren(...(this.kept ?? []).map((item) => this.small(item, true)));
  }

  large(item) {
    const takes = item.reading_s == null ? "" : el("p", { class: "soft small num" }, w("takes", { age: t("seconds", { n: item.reading_s }) }));
    return [el("h3", { "data-reading": item.order_id }, who(item)), ...sayings(item), takes];
  }

  small(item, kept = false) {
    const back = () => button(`back-${item.order_id}`, w("back"), (node) => this.mark(node, item, "unread"));
    const done = () => button(`done-${item.order_id}`, w("done"), (node) => this.mark(node, item, "read"), { kind: "" });
    const buttons = kept ? el("div", { class: "buttons" }, done(), back()) : "";
    return el("li", {}, el("b", {}, who(item)), ...sayings(item), buttons);
  }

  async mark(node, item, mark) {
    if (!item) return;
    const path = this.desk.path(`/reading/${encodeURIComponent(item.order_id)}`);
    await this.desk.act(node, () => this.desk.api("PUT", path, { mark }), () => null);
    await this.look();
  }
}
