// Groups of overlays, such as those of a vertical canvas: what each has on air, how many wait, and what can be done about
// it. Most hosts have the group main alone, and see nothing of this but a folded line.

import { Refusal, Unknown, serverNow } from "../api.js";
import { confirmed } from "../dialog.js";
import { el, replaceKept, say } from "../dom.js";
import { clock, count, translator } from "../i18n.js";
import { alertText } from "./onair.js";
import { button, field, form } from "./panel.js";
import { t } from "./words.js";

const w = translator({
  list: ["What each group shows", "各分组正在播出"],
  nothing: ["No alert is on air.", "暂无提醒播出。"],
  unheard: ["Not heard of yet.", "尚无数据。"],
  shown: ["on screen", "已上屏"],
  sent: ["no overlay has shown it yet", "尚无叠加层显示"],
  left: ["{time} left", "剩余 {time}"],
  waiting: ["{n} waiting", "{n} 条排队"],
  skip: ["Skip", "跳过"],
  skipped: ["Skipped.", "已跳过。"],
  over: ["It was over already.", "该提醒已结束。"],
  test: ["Test", "测试"],
  tested: ["It is on its way to the screens of {group}.", "已发送到分组 {group} 的屏幕。"],
  settings: ["Settings", "设置"],
  remove: ["Delete…", "删除…"],
  sureTitle: ["Delete the group {group}?", "确定删除分组 {group}？"],
  sureText: ["Its screens go dark at once, and what waits for it is not shown.", "其屏幕立即变空，排队的提醒不再显示。"],
  sureYes: ["Delete it", "确定删除"],
  removed: ["Deleted.", "已删除。"],
  more: ["Another group of overlays", "新增叠加层分组"],
  what: [
    "A group has a queue of its own, for a vertical canvas, say. It begins with the settings of main.",
    "每个分组有独立的队列，例如用于竖屏画面。初始设置与 main 相同。",
  ],
  name: ["Name, such as vertical", "名称，例如 vertical"],
  make: ["Make it", "创建"],
  bad: ["a–z, 0–9 and -, at most 24 of them.", "仅限 a–z、0–9 和 -，最多 24 个字符。"],
  known: ["There is a group of that name.", "该名称的分组已存在。"],
  made: ["Made. Overlays with group={group} in their address show it.", "已创建。地址中含 group={group} 的叠加层会显示它。"],
});
const NAME = /^[a-z0-9-]{1,24}$/;
export const MAIN = "main";

// Whose state a part of the stream tells, or null.
export function groupOf(part) {
  return part.startsWith("alerts/") ? part.slice("alerts/".length) : null;
}

export class GroupsPanel {
  // onGroups: told the names of all groups, main first, whenever there are others than before.
  constructor(desk, onGroups) {
    Object.assign(this, { desk, onGroups });
    this.names = [MAIN];
    this.states = new Map();
    this.rows = new Map();
    this.list = el("ul", { class: "plain", id: "alert-groups", "aria-label": w("list"), hidden: true });
    this.node = el("details", { class: "inner", id: "make-group" }, el("summary", {}, w("more")), this.maker());
  }

  async look() {
    try {
      await this.fresh();
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
      // What is known stays; the next look, some seconds later, tells.
    }
  }

  async fresh() {
    const { items } = await this.desk.api("GET", this.desk.path("/alert-groups"));
    this.settings = items.find((one) => one.name === MAIN);
    const names = [MAIN, ...items.map((one) => one.name).filter((name) => name !== MAIN)];
    if (names.join() === this.names.join()) return;
    this.names = names;
    for (const known of [this.rows, this.states]) for (const name of known.keys()) if (!names.includes(name)) known.delete(name);
    this.list.hidden = names.length < 2;
    replaceKept(this.list, names.map((name) => this.rowOf(name).node));
    names.forEach((name) => this.paint(name));
    this.onGroups(names);
  }

  take(part, state) {
    const name = groupOf(part);
    if (!name) return;
    this.states.set(name, state);
    this.paint(name);
  }

  tick() {
    for (const name of this.rows.keys()) this.paint(name);
  }

  // --- one group --------------------------------------------------------------------------------------------------

  rowOf(name) {
    if (this.rows.has(name)) return this.rows.get(name);
    const row = { what: el("p", { class: "airing-of" }), how: el("p", { class: "soft small num" }), waiting: el("span", { class: "badge num" }) };
    row.skip = button(`skip-${name}`, w("skip"), (node) => this.skip(node, name), { "aria-label": `${w("skip")}: ${name}` });
    const test = button(`test-${name}`, w("test"), (node) => this.test(node, name), { "aria-label": `${w("test")}: ${name}` });
    const href = `/composer?widget=alerts&group=${name}`;
    const settings = el("a", { href, target: "_blank", rel: "noopener", class: "button quiet", "aria-label": `${w("settings")}: ${name}` }, w("settings"));
    const remove = button(`delete-${name}`, w("remove"), (node) => this.remove(node, name), { "aria-label": `${w("remove")} ${name}` });
    const buttons = el("div", { class: "buttons" }, row.skip, test, settings, name === MAIN ? "" : remove);
    const head = el("div", { class: "spread" }, el("h3", {}, name), row.waiting);
    row.node = el("li", { "data-group": name }, head, row.what, row.how, buttons);
    this.rows.set(name, row);
    return row;
  }

  paint(name) {
    const row = this.rows.get(name);
    if (!row) return;
    const state = this.states.get(name);
    const airing = state?.on_air;
    const left = airing ? (Date.parse(airing.ends_at) - serverNow()) / 1000 : 0;
    say(row.what, airing ? alertText(airing, this.desk.front.offers) : w(state ? "nothing" : "unheard"));
    row.what.classList.toggle("soft", !airing);
    say(row.how, airing ? `${w(airing.shown ? "shown" : "sent")} · ${w("left", { time: clock(left) })}` : "");
    say(row.waiting, w("waiting", { n: state ? count(state.waiting) : "—" }));
    row.skip.classList.toggle("idle", !airing);
    row.skip.setAttribute("aria-disabled", String(!airing));
  }

  skip(node, name) {
    const airing = this.states.get(name)?.on_air?.id;
    if (!airing) return null;
    return this.desk.act(node, () => this.desk.skip(name, airing), ({ skipped }) => w(skipped === false ? "over" : "skipped"));
  }

  test(node, group) {
    return this.desk.act(node, () => this.desk.once(this.desk.path("/alerts/test"), { kind: "gift", group }), () => w("tested", { group }));
  }

  async remove(node, group) {
    const words = { title: w("sureTitle", { group }), text: w("sureText"), yes: w("sureYes"), no: t("cancel") };
    if (!(await confirmed(words))) return;
    await this.desk.act(node, () => this.desk.api("DELETE", this.desk.path(`/alert-groups/${group}`)), () => w("removed"));
    // Also where it was refused: somebody else may have deleted it.
    await this.look();
  }

  // --- another one ------------------------------------------------------------------------------------------------

  maker() {
    const name = field(w("name"), { maxlength: 24, autocapitalize: "none", spellcheck: "false" });
    const make = el("button", { type: "submit", class: "quiet", "data-do": "make-group" }, w("make"));
    const send = async () => {
      const group = name.input.value.trim();
      if (!NAME.test(group)) {
        name.input.focus();
        return this.desk.say(make, w("bad"), true);
      }
      const done = await this.desk.act(make, () => this.make(group), (made) => w(made ? "made" : "known", { group }));
      if (done) name.input.value = "";
      return done;
    };
    return el("div", {}, el("p", { class: "soft small" }, w("what")), form(send, name.node, make));
  }

  // A group that is there already is left as it is set: to make it again would set it anew.
  async make(group) {
    await this.fresh();
    if (this.names.includes(group)) return false;
    const { name: _, ...settings } = this.settings ?? {};
    const made = await this.desk.api("PUT", this.desk.path(`/alert-groups/${group}`), settings);
    await this.look();
    return made;
  }
}
