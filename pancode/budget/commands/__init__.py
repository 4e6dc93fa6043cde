"""Commands of the account: what work has cost, what happened, who does it well."""
