"""Plug-ins for LangChain and LangGraph over one embedded database."""

__version__ = "0.1.0"
