// The queue of what people wrote, shared live by everybody who reviews: what one decides disappears for all. The
// topic only counts; the texts come over HTTP, to those who may see them.

import { Refusal, Unknown } from "../api.js";
import { el, say } from "../dom.js";
import { count, translator } from "../i18n.js";
import { ReviewItem } from "./item.js";
import { t } from "./words.js";

const STATES = ["pending", "passed", "shown", "hidden"];
const BULK_MAX = 100;
const LOOK_MS = 150;
const REST_MS = 1200;
const CLAIM_MS = 20_000;
const trouble = translator({
  unknown: ["The list could not be read just now; it is tried again.", "暂时无法读取列表，正在重试。"],
});

// What may be decided about a text in a state; mode is null where the server does not say.
function decisionsFor(state, mode) {
  if (state === "pending") return { two_pass: ["pass", "hide"] }[mode] ?? (mode ? ["show", "hide"] : ["show", "pass", "hide"]);
  if (state === "passed") return ["show", "hide"];
  return state === "shown" ? ["hide"] : ["show"];
}

function refusalText(code) {
  return { two_people: t("two"), same_person: t("two"), host_only: t("host"), forbidden: t("host"), not_passed: t("notAllowed") }[code] ?? t("stale");
}

export class ReviewQueue {
  // desk: { me, api, path(rest), act(button, work, doneText), say(button, text, bad) }
  constructor(desk) {
    Object.assign(this, { desk, state: "pending", rows: new Map(), mode: null, cursor: null, at: null });
    this.badge = el("span", { class: "badge num", id: "to-review", "aria-live": "polite" });
    this.tabs = STATES.map((state) => {
      const choose = () => this.choose(state);
      return el("button", { type: "button", class: "chip", "aria-pressed": String(state === "pending"), "data-state": state, onclick: choose }, t(state));
    });
    this.list = el("div", { class: "review-list", id: "review" });
    this.says = el("p", { class: "soft", role: "status" });
    this.more = el("button", { type: "button", class: "quiet", hidden: true, onclick: () => desk.act(this.more, () => this.read(), () => null) }, t("more"));
    this.bulk = el("div", { class: "bulk" });
    this.node = el(
      "section",
      { class: "card", id: "review-queue" },
      el("div", { class: "spread" }, el("h2", {}, t("title")), this.badge),
      el("div", { class: "chips", role: "group", "aria-label": t("states") }, ...this.tabs),
      this.bulk,
      this.says,
      this.list,
      this.more,
    );
    this.select();
  }

  take(part, state) {
    if (part !== "review") return;
    say(this.badge, t("waiting", { n: count(state.waiting) }));
    this.badge.classList.toggle("live", state.waiting > 0);
    if (state.revision !== this.revision) {
      this.revision = state.revision;
      this.again ??= setTimeout(() => this.look(), LOOK_MS);
    }
  }

  tick() {
    for (const row of this.rows.values()) row.tick();
  }

  mine(who) {
    const { id, name } = this.desk.me;
    return who === id || who?.id === id || (typeof who === "string" && who === name);
  }

  choose(state) {
    this.state = state;
    for (const tab of this.tabs) tab.setAttribute("aria-pressed", String(tab.dataset.state === state));
    for (const row of this.rows.values()) row.node.remove();
    this.rows.clear();
    this.current = null;
    this.select();
    return this.look();
  }

  // --- reading ----------------------------------------------------------------------------------------------------

  async look() {
    clearTimeout(this.again);
    this.again = null;
    this.cursor = null;
    try {
      await this.read();
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
      say(this.says, error instanceof Refusal ? t("notAllowed") : trouble("unknown"));
      if (error instanceof Unknown) this.again = setTimeout(() => this.look(), 3000);
    }
  }

  async read() {
    const [state, from] = [this.state, this.cursor];
    const query = from ? `&cursor=${encodeURIComponent(from)}` : "";
    const answer = await this.desk.api("GET", this.desk.path(`/review?state=${state}&limit=50${query}`));
    if (state !== this.state) return;
    this.mode = answer.mode ?? this.mode;
    this.cursor = answer.next ?? null;
    this.more.hidden = !this.cursor;
    this.show(answer.items, !from);
  }

  // Rows that stay keep their node, so that focus, ticks and a finger on a button stay where they are.
  show(items, whole) {
    const still = new Set(items.map((item) => item.order_id));
    if (whole) for (const [id, row] of this.rows) if (!still.has(id)) this.drop(id, row);
    items.forEach((item) => {
      const known = this.rows.get(item.order_id);
      const key = JSON.stringify([item, this.mode]);
      if (known?.key === key) return;
      const row = new ReviewItem(item, decisionsFor(this.state, this.mode), this);
      row.key = key;
      row.box.checked = known?.box.checked ?? false;
      const had = known?.node.contains(document.activeElement);
      if (known) known.node.replaceWith(row.node);
      else this.list.append(row.node);
      this.rows.set(item.order_id, row);
      if (this.current === item.order_id) row.node.classList.add("current");
      if (had) row.node.focus({ preventScroll: true });
    });
    say(this.says, this.rows.size ? "" : t(`none_${this.state}`));
    this.select();
  }

  drop(id, row) {
    this.rows.delete(id);
    row.rest();
    setTimeout(() => row.node.remove(), REST_MS);
    if (this.current === id) this.current = null;
  }

  // --- deciding ---------------------------------------------------------------------------------------------------

  async decide(items, decision, button) {
    const decisions = items.map(({ order_id: id, revision }) => ({ order_id: id, revision, decision }));
    const send = () => this.desk.once(this.desk.path("/review"), { decisions });
    const done = (answer) => {
      const refused = (answer.items ?? []).filter((one) => one.refused);
      if (!refused.length) return items.length === 1 ? t(`said_${decision}`) : t("bulkDone", { n: count(items.length) });
      if (items.length === 1) return refusalText(refused[0].refused.code ?? refused[0].refused);
      return t("bulkSome", { n: count(items.length - refused.length), m: count(refused.length) });
    };
    const answer = await this.desk.act(button, send, done);
    if (answer) await this.look();
  }

  select() {
    const chosen = [...this.rows.values()].filter((row) => row.box.checked);
    const n = count(chosen.length);
    const items = () => chosen.slice(0, BULK_MAX).map((row) => row.item);
    const act = (decision, word, kind) =>
      el(
        "button",
        { type: "button", class: kind, "data-do": `bulk-${decision}`, onclick: (event) => this.decide(items(), decision, event.currentTarget) },
        t(word, { n: count(Math.min(chosen.length, BULK_MAX)) }),
      );
    const words = { show: ["bulkShow", ""], pass: ["bulkPass", "quiet"], hide: ["bulkHide", "quiet"] };
    const all = el("button", { type: "button", class: "quiet", "data-do": "select-all", onclick: () => this.selectAll() }, t(chosen.length ? "selectNone" : "selectAll"));
    all.hidden = !this.rows.size;
    const buttons = chosen.length ? decisionsFor(this.state, this.mode).map((one) => act(one, ...words[one])) : [];
    this.bulk.replaceChildren(all, ...(chosen.length ? [el("span", { class: "soft num" }, t("selected", { n }))] : []), ...buttons);
  }

  selectAll() {
    const rows = [...this.rows.values()];
    const none = rows.every((row) => !row.box.checked);
    for (const row of rows) row.box.checked = none && row.item.flags.length === 0;
    this.select();
    this.bulk.querySelector("[data-do=select-all]").focus();
  }

  // --- whose turn -------------------------------------------------------------------------------------------------

  // The others see for half a minute who is at a text; that it could not be said is no reason not to decide.
  async claim(row) {
    const id = row.item.order_id;
    for (const one of this.rows.values()) one.node.classList.toggle("current", one === row);
    this.current = id;
    const now = performance.now();
    if (this.claimed?.id === id && now - this.claimed.at < CLAIM_MS) return;
    this.claimed = { id, at: now };
    try {
      await this.desk.api("PUT", this.desk.path(`/review/${encodeURIComponent(id)}/claim`), {});
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
    }
  }

  // --- by keyboard ------------------------------------------------------------------------------------------------

  move(step) {
    const ids = [...this.rows.keys()];
    if (!ids.length) return null;
    const at = ids.indexOf(this.current);
    const next = at < 0 ? 0 : Math.max(0, Math.min(ids.length - 1, at + step));
    this.rows.get(ids[next]).node.focus();
    return true;
  }

  keys() {
    const of = (decision) => () => this.rows.get(this.current)?.button(decision) ?? null;
    return {
      j: () => this.move(1),
      k: () => this.move(-1),
      a: of("show"),
      p: of("pass"),
      d: of("hide"),
      x: () => this.rows.get(this.current)?.box ?? null,
    };
  }
}
