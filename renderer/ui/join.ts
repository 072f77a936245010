/** Class names in one string; what is false or undefined is left out. */
export function join(...classes: (string | false | null | undefined)[]): string {
  return classes.filter(Boolean).join(" ");
}
