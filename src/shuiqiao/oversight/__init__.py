"""The regulator's room: replay audit, statistics, and the record-management-only rules as checks."""
