// The ladder of milestones: add a step, change it, take it away; what is reached is marked by the server.

import { confirmed } from "../dialog.js";
import { el } from "../dom.js";
import { count, named, timeOfDay, translator } from "../i18n.js";
import { minorOf, money } from "../money.js";
import { sendOnce } from "./act.js";
import { button, card, field, form, replaceIfNew, select } from "./panel.js";
import { t } from "./words.js";

const w = translator({
  title: ["Milestones", "里程碑"],
  none: ["No milestone yet. Add what happens at which sum.", "暂无里程碑。可添加达到某金额后的约定。"],
  money: ["Money raised, {currency}", "筹款额（{currency}）"],
  units: ["Units sold", "售出件数"],
  counts: ["Counts", "计算方式"],
  at: ["Reached at", "目标值"],
  name: ["What happens", "内容"],
  nameZh: ["In Chinese (if you like)", "中文（可选）"],
  add: ["Add a milestone", "添加里程碑"],
  added: ["Added.", "已添加。"],
  changed: ["Changed.", "已修改。"],
  change: ["Change", "修改"],
  removed: ["Removed.", "已删除。"],
  badAt: ["Say at how much, such as 50000.", "请填写目标值，例如 50000。"],
  badName: ["Say what happens.", "请填写内容。"],
  reached: ["Reached {at}", "{at} 达成"],
  fell: ["was reached {at}; {missing} short again", "{at} 曾达成；现差 {missing}"],
  missing: ["{missing} to go", "还差 {missing}"],
  sureTitle: ["Remove “{title}”?", "确定删除“{title}”？"],
  sureText: ["It disappears from the screen at once.", "将立即从屏幕上移除。"],
  sureYes: ["Remove it", "确定删除"],
});

export class MilestonesPanel {
  constructor(desk) {
    this.desk = desk;
    this.list = el("ol", { class: "plain", id: "milestones" });
    this.empty = el("p", { class: "soft" }, w("none"));
    const { node, send, add } = this.editor();
    const create = async () => {
      const body = send();
      if (!body) return;
      const done = await desk.act(add, () => sendOnce(desk.api, desk.path("/milestones"), body), () => w("added"));
      if (done) node.reset();
    };
    node.addEventListener("submit", create);
    const folded = el("details", { class: "inner", id: "add-milestone" }, el("summary", {}, w("add")), node);
    this.node = card(w("title"), {}, this.empty, this.list, folded);
  }

  take(part, state) {
    if (part !== "milestones") return;
    this.empty.hidden = state.items.length > 0;
    const open = this.list.querySelector("details[open]");
    // Who is changing a step is not to lose what was typed; the next frame after that brings the rest up to date.
    if (open) return;
    replaceIfNew(this.list, JSON.stringify(state.items), () => state.items.map((step) => this.row(step)));
  }

  amount(step, value) {
    return step.counts === "money" ? money(value, this.desk.front.currency) : count(value);
  }

  row(step) {
    const missing = this.amount(step, step.missing);
    const at = step.reached_at ? timeOfDay(step.reached_at) : "";
    const says = step.reached ? w("reached", { at }) : step.reached_at ? w("fell", { at, missing }) : w("missing", { missing });
    const path = this.desk.path(`/milestones/${encodeURIComponent(step.id)}`);
    const { node, send, add } = this.editor(step);
    const folded = el("details", { class: "inner" }, el("summary", {}, w("change")), node);
    node.addEventListener("submit", async () => {
      const body = send();
      if (!body) return;
      if (await this.desk.act(add, () => this.desk.api("PATCH", path, body), () => w("changed"))) folded.open = false;
    });
    const remove = button(`remove-${step.id}`, t("remove"), async () => {
      const words = { title: w("sureTitle", { title: named(step, "title") }), text: w("sureText"), yes: w("sureYes"), no: t("cancel") };
      if (!(await confirmed(words))) return;
      folded.open = false;
      await this.desk.act(remove, () => this.desk.api("DELETE", path), () => w("removed"));
    });
    folded.append(remove);
    return el(
      "li",
      { class: step.reached ? "reached" : "", "data-milestone": step.id },
      el("b", { class: "num" }, `${step.reached ? "✓ " : ""}${this.amount(step, step.threshold)}`),
      " ",
      el("bdi", {}, named(step, "title")),
      " ",
      el("span", { class: "soft small num" }, says),
      folded,
    );
  }

  // The fields of a step; send() returns its body, or null after saying what is missing.
  editor(step = null) {
    const { currency } = this.desk.front;
    const counts = select(w("counts"), [["money", w("money", { currency })], ["units", w("units")]]);
    const at = field(w("at"), { inputmode: "decimal", maxlength: 16 });
    const name = field(w("name"), { maxlength: 80 });
    const nameZh = field(w("nameZh"), { maxlength: 80, lang: "zh-CN" });
    const add = el("button", { type: "submit" }, step ? t("save") : w("add"));
    if (step) {
      counts.input.value = step.counts;
      at.input.value = step.counts === "money" ? money(step.threshold, currency).replace(/[^\d.]/g, "") : step.threshold;
      name.input.value = step.title;
      nameZh.input.value = step.title_zh ?? "";
    }
    const send = () => {
      const whole = /^\d{1,12}$/.test(at.input.value.trim()) ? Number(at.input.value) : null;
      const threshold = counts.input.value === "money" ? minorOf(at.input.value, currency) : whole;
      const title = name.input.value.trim();
      const bad = !threshold ? [at.input, w("badAt")] : title ? null : [name.input, w("badName")];
      if (bad) {
        bad[0].focus();
        this.desk.say(add, bad[1], true);
        return null;
      }
      return { counts: counts.input.value, threshold, title, title_zh: nameZh.input.value.trim() || null };
    };
    return { node: form(() => {}, counts.node, at.node, name.node, nameZh.node, add), send, add };
  }
}
