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

const REFUSED = new Set(["changed", "withdrawn", "returned", "host_only", "blocked", "second_person"]);
const DISPLAYS = new Set(["SHOWN", "PASSED", "HIDDEN"]);

// What may be decided about a text in a state. A moderator lets pass, and the rules say what that makes of it; the
// host shows at once, or counts as one of two people where two are asked for.
function decisionsFor(state, { isStaff, mode }) {
  if (state === "shown") return ["hide"];
  if (state === "hidden") return isStaff ? ["show"] : [];
  if (!isStaff) return ["pass", "hide"];
  return state === "pending" && mode === "two_pass" ? ["show", "pass", "hide"] : ["show", "hide"];
}

function outcomeText({ display, refused }) {
  if (refused) return t(REFUSED.has(refused) ? refused : "changed");
  return t(DISPLAYS.has(display) ? display : "changed");
}

export class ReviewQueue {
  // desk: { me, api, path(rest), act(button, work, doneText) }
  constructor(desk) {
    Object.assign(this, { desk, state: "pending", rows: new Map(), mode: null, cursor: null });
    this.isStaff = desk.me.role !== "moderator";
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
    return who.id === this.desk.me.id;
  }

  // What a decision is called on its button.
  wordOf(decision) {
    return t(decision === "pass" && !this.isStaff ? "approve" : decision);
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
      if (this.isStaff) this.mode = (await this.desk.api("GET", this.desk.path("/moderation"))).mode;
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
      const row = new ReviewItem(item, decisionsFor(this.state, this), this);
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
    const send = () => this.desk.api("POST", this.desk.path("/review"), { decisions });
    const done = ({ outcomes }) => {
      if (outcomes.length === 1) return outcomeText(outcomes[0]);
      const refused = outcomes.filter((one) => one.refused).length;
      const n = count(outcomes.length - refused);
      return refused ? t("bulkSome", { n, m: count(refused) }) : t("bulkDone", { n });
    };
    const answer = await this.desk.act(button, send, done);
    if (answer) await this.look();
  }

  select() {
    const chosen = [...this.rows.values()].filter((row) => row.box.checked);
    const n = count(chosen.length);
    const items = () => chosen.slice(0, BULK_MAX).map((row) => row.item);
    const act = (decision) =>
      el(
        "button",
        { type: "button", class: decision === "hide" ? "quiet" : "", "data-do": `bulk-${decision}`, onclick: (event) => this.decide(items(), decision, event.currentTarget) },
        `${this.wordOf(decision)} (${count(Math.min(chosen.length, BULK_MAX))})`,
      );
    const all = el("button", { type: "button", class: "quiet", "data-do": "select-all", onclick: () => this.selectAll() }, t(chosen.length ? "selectNone" : "selectAll"));
    all.hidden = !this.rows.size;
    const buttons = chosen.length ? decisionsFor(this.state, this).map(act) : [];
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
      a: of(this.isStaff ? "show" : "pass"),
      ...(this.isStaff ? { p: of("pass") } : {}),
      d: of("hide"),
      x: () => this.rows.get(this.current)?.box ?? null,
    };
  }
}
