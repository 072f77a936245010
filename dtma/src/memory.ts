import { setFlagsFromString } from "node:v8";

/**
 * Keeps V8's young generation at its first size, here where little is alive at a time. Measured on an idle DTMA: 4 MB less
 * resident, at 1 % of its requests per second. It affects the whole process; call it before anything else.
 */
export function keepYoungGenerationSmall(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
}
