/** Docker's order of names: `v2` before `v10`. For sort(). Pure. */
export function compareNaturally(a: string, b: string): number {
  const [left, right] = [a, b].map((name) => name.match(/\d+|\D+/g) ?? []);
  for (const [index, one] of left!.entries()) {
    const other = right![index];
    if (other === undefined) return 1;
    const numbers = /^\d/.test(one) && /^\d/.test(other);
    const byValue = numbers ? Math.sign(Number(one) - Number(other)) : 0;
    if (byValue !== 0) return byValue;
    if (one !== other) return one < other ? -1 : 1;
  }
  return left!.length - right!.length;
}
