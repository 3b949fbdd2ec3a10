/** Reasons typed but not sent, by approval: looking at another request does not lose them. */
export const drafts = new Map<string, string>();
