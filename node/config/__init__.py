"""Read the node's configuration from YAML into strict structs."""

from node.config.audit import AuditConfig, SyslogConfig
from node.config.monitor import AlertsConfig, PageConfig
from node.config.problems import is_network
from node.config.read import LineOf, load, load_text, load_with_lines
from node.config.structs import (
    AUTO,
    LONGEST_REPORT_WAIT_S,
    Caller,
    CompleteConfig,
    Config,
    DataConfig,
    IndexMode,
    KeepConfig,
    Limits,
    ModelConfig,
    NodeConfig,
    Rule,
    Target,
    TlsConfig,
    When,
    several,
)
from node.config.units import CertificateName

__all__ = [
    "AUTO",
    "LONGEST_REPORT_WAIT_S",
    "AlertsConfig",
    "AuditConfig",
    "Caller",
    "CertificateName",
    "CompleteConfig",
    "Config",
    "DataConfig",
    "IndexMode",
    "KeepConfig",
    "Limits",
    "LineOf",
    "ModelConfig",
    "NodeConfig",
    "PageConfig",
    "Rule",
    "SyslogConfig",
    "Target",
    "TlsConfig",
    "When",
    "is_network",
    "load",
    "load_text",
    "load_with_lines",
    "several",
]
