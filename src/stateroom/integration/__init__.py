"""Durable executions through Resonate, behind the extra ``durable``; nothing below needs it."""
