import { createContext, useContext } from "react";

/** What a field tells the control inside it. */
export type FieldLink = {
  controlId: string;
  labelId: string;
  describedBy: string | undefined;
  isInvalid: boolean;
  isRequired: boolean;
};

/** The field around a control; null where there is none. */
export const FieldContext = createContext<FieldLink | null>(null);

/** Ways to name a control that stands outside of a field. */
export type Labelling = {
  id?: string | undefined;
  "aria-label"?: string | undefined;
  "aria-labelledby"?: string | undefined;
  "aria-describedby"?: string | undefined;
};

/** What a control has to say about itself: from its field, unless it was named by hand. */
export function useLink(props: Labelling) {
  const field = useContext(FieldContext);
  const isLabelledByHand = props["aria-label"] !== undefined || props["aria-labelledby"] !== undefined;
  const own = field !== null && !isLabelledByHand ? field : null;
  return {
    id: props.id ?? own?.controlId,
    labelId: own?.labelId,
    isInvalid: own?.isInvalid ?? false,
    isRequired: own?.isRequired ?? false,
    describedBy: props["aria-describedby"] ?? own?.describedBy,
  };
}

/** The same as attributes of the control's element. */
export function aria(link: ReturnType<typeof useLink>) {
  return {
    id: link.id,
    "aria-describedby": link.describedBy,
    "aria-invalid": link.isInvalid || undefined,
    "aria-required": link.isRequired || undefined,
  };
}
