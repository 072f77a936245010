/** The sign of the control centre: a box with a link going out of it. */
export function Mark({ size = 20 }: { size?: number }) {
  return (
    <svg aria-hidden="true" width={size} height={size} viewBox="0 0 20 20" className="shrink-0">
      <rect width="20" height="20" rx="5.5" className="fill-accent" />
      <path
        d="M10 4.2 5 7v6l5 2.8 5-2.8V7z"
        fill="none"
        stroke="#fff"
        strokeWidth="1.4"
        strokeLinejoin="round"
        strokeOpacity="0.55"
      />
      <circle cx="10" cy="10" r="2.1" fill="#fff" />
      <path d="m11.8 9 3.2-2" stroke="#fff" strokeWidth="1.4" strokeLinecap="round" />
    </svg>
  );
}
