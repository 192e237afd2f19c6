// One text in review: what was written (as text, whatever it looks like), what a filter found in it, who is at it.

import { serverNow } from "../api.js";
import { el, say } from "../dom.js";
import { clock } from "../i18n.js";
import { money } from "../money.js";
import { t } from "./words.js";

const KINDS = new Set(["blocked", "long", "link", "email", "phone"]);
const FILTER = "filter";

// The text with each flagged word marked. A word that was only found after folding is not in it as such: then the
// flag's own words below tell.
export function marked(text, words) {
  const found = words.filter((word) => word && text.includes(word)).sort((a, b) => b.length - a.length);
  if (!found.length) return [text];
  const [word] = found;
  const at = text.indexOf(word);
  const before = marked(text.slice(0, at), words);
  return [...before, el("mark", {}, word), ...marked(text.slice(at + word.length), words)];
}

function nameOf(who) {
  return who.id === FILTER ? t("filter") : who.name;
}

export class ReviewItem {
  // queue: { decide(item, decision, button), claim(item), select(), mine(who), wordOf(decision) }
  constructor(item, decisions, queue) {
    this.item = item;
    const wordsOf = (field) => item.flags.filter((flag) => flag.field === field).map((flag) => flag.word);
    const shown = (field) => marked(item[field], wordsOf(field));
    this.box = el("input", { type: "checkbox", "aria-label": t("select"), onchange: () => queue.select() });
    this.waits = el("span", { class: "soft small num" });
    const name = el("bdi", { class: "who" }, ...(item.name ? shown("name") : [t("anonymous")]));
    const amount = el("b", { class: "num" }, money(item.amount_minor, item.currency));
    const flags = item.flags.map((flag) => el("span", { class: "flag" }, t(`flag_${KINDS.has(flag.kind) ? flag.kind : "other"}`, { word: flag.word })));
    const claimed = item.claimed_by && !queue.mine(item.claimed_by);
    const notes = [
      claimed ? t("looking", { who: nameOf(item.claimed_by) }) : null,
      item.passed_by ? t("passedBy", { who: nameOf(item.passed_by) }) : null,
      item.decided_by ? t("decidedBy", { who: nameOf(item.decided_by) }) : null,
    ];
    this.buttons = decisions.map((decision) =>
      el(
        "button",
        {
          type: "button",
          class: decision === decisions[0] && decision !== "hide" ? "" : "quiet",
          "data-do": decision,
          onclick: (event) => queue.decide([item], decision, event.currentTarget),
        },
        queue.wordOf(decision),
      ),
    );
    this.node = el(
      "article",
      { class: claimed ? "review-item claimed" : "review-item", "data-order": item.order_id, tabindex: "-1", onfocusin: () => queue.claim(this) },
      el("div", { class: "review-head" }, el("label", { class: "check" }, this.box), name, amount, this.waits),
      item.message ? el("blockquote", { class: "lined", dir: "auto" }, ...shown("message")) : "",
      item.dedication ? el("p", { class: "dedication", dir: "auto" }, t("dedication", { who: "" }), ...shown("dedication")) : "",
      flags.length ? el("p", { class: "flags" }, ...flags) : "",
      ...notes.filter(Boolean).map((note) => el("p", { class: "soft small" }, note)),
      el("div", { class: "decide" }, ...this.buttons),
    );
    this.tick();
  }

  button(decision) {
    return this.buttons.find((node) => node.dataset.do === decision) ?? null;
  }

  tick() {
    const since = this.item.waiting_since;
    if (since) say(this.waits, t("waitsFor", { age: clock((serverNow() - Date.parse(since)) / 1000) }));
  }

  // Decided: it stays in place for a moment, so that the next tap does not meet another text.
  rest() {
    this.node.classList.add("gone");
    this.node.inert = true;
  }
}
