import { Check, Copy } from "lucide-react";
import { useEffect, useState } from "react";
import { IconButton } from "./button.tsx";

type CopyButtonProps = { text: string | (() => string); label: string; copiedLabel: string; size?: "xs" | "sm" };

/** Puts a text on the clipboard and says that it did. */
export function CopyButton({ text, label, copiedLabel, size = "sm" }: CopyButtonProps) {
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return;
    const timer = setTimeout(() => setCopied(false), 1_600);
    return () => clearTimeout(timer);
  }, [isCopied]);
  return (
    <IconButton
      size={size}
      icon={isCopied ? Check : Copy}
      label={isCopied ? copiedLabel : label}
      onClick={() => {
        navigator.clipboard.writeText(typeof text === "string" ? text : text()).then(
          () => setCopied(true),
          () => setCopied(false),
        );
      }}
    />
  );
}
