// Names of peers are what strangers have chosen. They are shown as text alone, and whatever in them would hide, or turn
// the order of what stands beside it, as its escape.

export function visible(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
}

/** "14 s", "3 min": how long ago that was. */
export function ago(time, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}

export function convergence(tenant) {
  const { by, of, behind } = tenant.applied;
  const text = `revision ${tenant.revision} is applied by ${by} of ${of}`;
  if (behind.length === 0) return text;
  const [first] = behind;
  const others = of - by - 1;
  const named = `${visible(first.display_name)} is at ${first.revision} since ${ago(first.since)}`;
  return `${text}; ${named}${others > 0 ? `, and ${others} more are behind` : ""}`;
}
