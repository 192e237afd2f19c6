// How strictly texts are looked at before they are shown: by whom, how long they may be, and which words stop them.

import { Refusal, Unknown } from "../api.js";
import { el } from "../dom.js";
import { translator } from "../i18n.js";
import { reasonOf } from "./act.js";
import { field, select } from "./panel.js";
import { t } from "./words.js";

const w = translator({
  title: ["Rules of review", "审核规则"],
  mode: ["Who lets a text pass", "由谁审核"],
  host: ["Only I", "仅主播"],
  one_pass: ["Any one moderator", "任一审核员"],
  two_pass: ["Two different people", "两位不同的人"],
  length: ["Longest message, in characters", "留言字数上限"],
  blocked: ["Words that stop a text, one a line", "屏蔽词（每行一个）"],
  allowed: ["Harmless words with one of these in them", "允许词（每行一个）"],
  saved: ["These rules count from now on.", "规则已生效。"],
});

function linesOf(text) {
  return [...new Set(text.split("\n").map((line) => line.trim()).filter(Boolean))];
}

export class RulesPanel {
  constructor(desk) {
    this.desk = desk;
    this.mode = select(w("mode"), ["host", "one_pass", "two_pass"].map((mode) => [mode, w(mode)]));
    this.length = field(w("length"), { type: "number", min: 1, max: 200, step: 1, inputmode: "numeric" });
    this.blocked = el("textarea", { rows: 4, spellcheck: "false" });
    this.allowed = el("textarea", { rows: 2, spellcheck: "false" });
    this.says = el("p", { class: "soft", role: "status" });
    this.save = el("button", { type: "submit", "data-do": "rules" }, t("save"));
    const send = (event) => {
      event.preventDefault();
      this.send();
    };
    this.form = el(
      "form",
      { hidden: true, novalidate: true, onsubmit: send },
      this.mode.node,
      this.length.node,
      el("label", {}, w("blocked"), this.blocked),
      el("label", {}, w("allowed"), this.allowed),
      el("div", { class: "buttons" }, this.save),
    );
    this.node = el("details", { class: "card fold", id: "rules" }, el("summary", {}, w("title")), this.says, this.form);
    this.node.addEventListener("toggle", () => this.node.open && this.look());
  }

  // Read anew each time it is opened: somebody else may have changed them.
  async look() {
    try {
      const rules = await this.desk.api("GET", this.desk.path("/moderation"));
      this.mode.input.value = rules.mode;
      this.length.input.value = rules.message_graphemes_max;
      this.blocked.value = rules.blocked.join("\n");
      this.allowed.value = rules.allowed.join("\n");
      this.form.hidden = false;
      this.says.textContent = "";
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
      this.says.textContent = reasonOf(error);
    }
  }

  send() {
    const body = {
      mode: this.mode.input.value,
      blocked: linesOf(this.blocked.value),
      allowed: linesOf(this.allowed.value),
      message_graphemes_max: Number(this.length.input.value),
    };
    return this.desk.act(this.save, () => this.desk.api("PUT", this.desk.path("/moderation"), body), () => w("saved"));
  }
}
