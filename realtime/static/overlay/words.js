// Words that more than one widget says.

import { translator } from "../i18n.js";

export const t = translator({
  raised: ["Raised so far", "已筹善款"],
  raisedTonight: ["Raised tonight", "今晚已筹"],
  left: ["left", "件剩余"],
  soldOut: ["SOLD OUT", "已售罄"],
  soldOutIn: ["SOLD OUT IN {clock}", "{clock} 售罄"],
  held: ["all held", "已被预订"],
  live: ["LIVE", "直播中"],
  ended: ["ENDED", "已结束"],
  testMoney: ["TEST MONEY", "测试资金"],
  rehearsal: ["REHEARSAL", "彩排"],
  rehearsalOver: ["REHEARSAL · FINISHED", "彩排 · 已播完"],
  rehearsalNone: ["NO REHEARSAL RUNNING", "没有正在进行的彩排"],
  stale: ["NOT LIVE · {age} old", "连接中断 · {age}前"],
  ageS: ["{n} s", "{n} 秒"],
  ageMin: ["{n} min", "{n} 分钟"],
  connecting: ["Overlay: connecting…", "叠加层：正在连接…"],
  noKey: [
    "Overlay: the key is missing. Copy the whole address from your console, with the part after #.",
    "叠加层：缺少密钥。请从控制台复制完整网址（包括 # 之后的部分）。",
  ],
  refused: [
    "Overlay: this key is no longer accepted. Copy a new address from your console.",
    "叠加层：此密钥已失效。请从控制台复制新的网址。",
  ],
  noStream: [
    "Overlay: this key belongs to no stream. Use the address of an overlay from your console.",
    "叠加层：此密钥不属于任何直播。请使用控制台中的叠加层网址。",
  ],
  ignored: ["Ignored: {name}={value} ({hint})", "已忽略：{name}={value}（{hint}）"],
  nothingIgnored: ["Every parameter is understood.", "所有参数均有效。"],
});
