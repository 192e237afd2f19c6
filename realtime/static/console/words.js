// What several panels of the console say: English, 中文. What only one panel says stands in that panel's file.

import { translator } from "../i18n.js";

export const t = translator({
  title: ["Console", "控制台"],
  leave: ["Sign out", "退出"],
  choose: ["Stream", "直播"],
  none: ["You have no stream yet", "您还没有直播"],
  noneText: ["Ask the organiser to set one up for you.", "请联系主办方为您创建直播。"],
  loading: ["Loading…", "加载中…"],
  draft: ["Draft", "草稿"],
  scheduled: ["Scheduled", "已排期"],
  live: ["LIVE", "直播中"],
  ended: ["Ended", "已结束"],
  settled: ["Settled", "已结算"],
  seconds: ["{n} s", "{n} 秒"],
  minutes: ["{n} min", "{n} 分钟"],
  hours: ["{n} h", "{n} 小时"],
  ago: ["{age} ago", "{age}前"],
  onAir: ["On air", "播出"],
  sale: ["Sale", "销售"],
  alerts: ["Alerts", "提醒"],
  words: ["Messages", "留言"],
  money: ["Money", "资金"],
  setup: ["Set-up", "设置"],
  sections: ["Sections", "栏目"],
  cancel: ["Cancel", "取消"],
  save: ["Save", "保存"],
  remove: ["Remove…", "删除…"],
  more: ["Show more", "显示更多"],
  done: ["Done.", "已完成。"],
});

// An age or a duration, in one unit.
export function ageText(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return t("seconds", { n: seconds });
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? t("minutes", { n: minutes }) : t("hours", { n: Math.round(minutes / 60) });
}
