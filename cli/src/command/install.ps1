# Installs the Muster agent on this host and enrols the host as connector @NAME@.
#
# @TOKEN_LINE@
# The private key of the connector is made on this host and never leaves it.
# Nothing is trusted but the authority below, whose SHA-256 fingerprint is
#   @CA_SHA256@
#
#   powershell -ExecutionPolicy Bypass -File install.ps1            check, install, enrol, start, wait for the server
#   powershell -ExecutionPolicy Bypass -File install.ps1 -DryRun    check only; the token stays good
#   powershell -ExecutionPolicy Bypass -File install.ps1 -NoStart   install and enrol only
#   powershell -ExecutionPolicy Bypass -File install.ps1 -Agent C:\muster-agent.exe
#                                                                   use this agent instead of downloading one
#
# Running it again is safe: what is done already is left alone. A run that fails before the host is enrolled removes
# what it made. It needs Windows PowerShell 5.1 or later, and curl.exe 7.60 or later: the first curl.exe of Windows 10 1803
# and Server 2019 is 7.55, which cannot be told whom to trust; later updates of Windows bring a newer one.
#
# Exit codes
#   0  done; the server has confirmed the first check-in
#   2  called with an argument that it does not know, or the script is a preview
#   3  this host lacks something: a FAIL line above says what, and how to get it
#   4  the server cannot be reached, or the agent is not the one that the server announced
#   5  the server did not enrol the host; the lines above say why
#   6  the agent is enrolled but could not be started
#   7  the agent runs, but the server has not confirmed its first check-in in time
[CmdletBinding(PositionalBinding = $false)]
param([switch]$DryRun, [switch]$NoStart, [string]$Agent = '',
    # Whatever else is there: a mistyped -DryRun must not become an installation.
    [Parameter(ValueFromRemainingArguments = $true)][string[]]$Unknown = @())
$ErrorActionPreference = 'Stop'

$Name = '@NAME@'
$Server = '@SERVER@'
$ServerHost = '@SERVER_HOST@'
$ServerPort = @SERVER_PORT@
$Pool = '@POOL@'
$AgentPath = '@AGENT_PATH@'
$AgentSha256 = '@AGENT_SHA256@'
$CaSha256 = '@CA_SHA256@'
$Prefix = '@PREFIX@'
# @PROXY_LINE@
$ProxyMode = '@PROXY_MODE@'
$Proxy = '@PROXY@'
$ProxyUrl = '@PROXY_URL@'
$NoProxyGiven = '@NO_PROXY_GIVEN@'
$NoProxyList = '@NO_PROXY_LIST@'
# Whether the list above, or without one the default, exempts the server from the proxy.
$Exempt = '@EXEMPT@'
# The server as NO_PROXY is compared with it.
$BareHost = '@BARE_HOST@'
$Start = '@START@'
$Renew = '@RENEW@'
$Preview = '@PREVIEW@'
$Ca = @'
@CA_PEM@
'@
$Token = '@TOKEN@'
$ProxyPassword = @'
@PROXY_PASSWORD@
'@

$MemoryMb = 64
$MemoryGoodMb = 128
$DiskMb = 128
$DiskGoodMb = 512
$SkewMax = 300
$SkewGood = 30
$ConfirmSeconds = 60
$CurlLeast = [Version]'7.60'

$script:Failures = 0
$script:Made = @()
$script:Enrolled = $false
$script:Known = $false
$script:Through = ''
$script:ExemptBy = ''
$Work = $null

function Say([string]$Text) { Write-Output "muster: $Text" }

function Stop-Here([int]$Code, [string]$Text) {
    [Console]::Error.WriteLine("muster: $Text")
    throw [System.ApplicationException]::new("$Code")
}

# One line: what was measured, what is needed, and what to do.
function Verdict([string]$State, [string]$Check, [string]$Measured, [string]$Needed, [string]$Fix = '') {
    $Line = '{0,-4}  {1,-6}  {2}; needed: {3}' -f $State, $Check, $Measured, $Needed
    if ($State -ne 'PASS' -and $Fix) { $Line = "$Line; fix: $Fix" }
    if ($State -eq 'FAIL') { $script:Failures++ }
    Write-Output $Line
}

# A host that is enrolled and has its agent can do without the server for now.
function Verdict-Net([string]$State, [string]$Check, [string]$Measured, [string]$Needed, [string]$Fix = '') {
    if ($State -eq 'FAIL' -and $script:Known) { $State = 'WARN' }
    Verdict $State $Check $Measured $Needed $Fix
}

function Enough([long]$Found, [long]$Least, [long]$Good) {
    if ($Found -ge $Good) { 'PASS' } elseif ($Found -ge $Least) { 'WARN' } else { 'FAIL' }
}

function Test-Host {
    $Arch = $env:PROCESSOR_ARCHITECTURE
    $System = if ($Arch -eq 'AMD64') { 'windows-x86_64' } else { "windows-$($Arch.ToLower())" }
    if ($Agent) {
        $State = if (Test-Path -LiteralPath $Agent -PathType Leaf) { 'PASS' } else { 'FAIL' }
        Verdict $State 'system' "$System, agent $Agent" 'a file that is there' 'name the agent with -Agent'
    } elseif (-not $AgentPath.StartsWith('/agent/windows-')) {
        Verdict 'FAIL' 'system' "$System, and the server offers no agent for Windows" 'an agent for it' `
            'name a muster-agent.exe with -Agent'
    } else {
        $State = if ($AgentPath.StartsWith("/agent/$System/")) { 'PASS' } else { 'FAIL' }
        Verdict $State 'system' $System ($AgentPath.Split('/')[2]) 'use a host of that kind'
    }
    $Memory = [long]((Get-CimInstance Win32_OperatingSystem).FreePhysicalMemory / 1024)
    Verdict (Enough $Memory $MemoryMb $MemoryGoodMb) 'memory' "$Memory MB available" `
        "$MemoryMb MB, better $MemoryGoodMb MB" 'stop something, or add memory'
    $Drive = New-Object System.IO.DriveInfo ($Prefix.Substring(0, 1))
    $Free = [long]($Drive.AvailableFreeSpace / 1MB)
    Verdict (Enough $Free $DiskMb $DiskGoodMb) 'disk' "$Free MB free on $($Drive.Name)" `
        "$DiskMb MB, better $DiskGoodMb MB" 'free some, or add the connector again with --prefix on another volume'
    $Me = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
    $Admin = $Me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
    $State = if ($Admin) { 'PASS' } else { 'FAIL' }
    Verdict $State 'rights' $Me.Identity.Name 'a local administrator' 'run PowerShell as administrator'
    $State = if ($Prefix -match '^[A-Za-z]:\\[ -~]+$') { 'PASS' } else { 'FAIL' }
    Verdict $State 'path' $Prefix 'a drive and plain ASCII' 'add the connector again with --prefix'
    $Curl = $null
    if (Get-Command curl.exe -ErrorAction SilentlyContinue) {
        if ("$(& curl.exe --version)" -match '^curl (\d+\.\d+)') { $Curl = [Version]$Matches[1] }
    }
    $State = if ($Curl -and $Curl -ge $CurlLeast) { 'PASS' } else { 'FAIL' }
    $Found = if ($Curl) { "curl.exe $Curl" } else { 'no curl.exe' }
    Verdict $State 'tools' $Found "curl.exe $CurlLeast or later on the PATH" `
        'install the updates of Windows, or a newer curl.exe'
}

# The bytes of an address, those of an IPv4 one as of ::ffff:a.b.c.d; nothing for what is none.
function Get-Bytes([string]$Text) {
    $Address = $null
    if ($Text -notmatch '^\d+\.\d+\.\d+\.\d+$' -and $Text -notmatch '^[0-9a-f:.]*:[0-9a-f:.]*$') { return }
    if (-not [Net.IPAddress]::TryParse($Text, [ref]$Address)) { return }
    return $Address.MapToIPv6().GetAddressBytes()
}

# Whether an entry of NO_PROXY is the server: a name and all below it, .domain, an address, a network, or *; but for
# networks perhaps with a port.
function Test-Exempt([string]$Entry) {
    if ($Entry -eq '*') { return $true }
    $Place, $Bits, $Only = $Entry, 128, ''
    if ($Entry -match '^([^/]+)/(\d{1,3})$') {
        $Place, $Bits = $Matches[1], [int]$Matches[2]
        if (-not $Place.Contains(':')) { $Bits += 96 }
    } elseif ($Entry -match '^\[(.*)\](:(\d+))?$') {
        $Place, $Only = $Matches[1], $Matches[3]
    } elseif ($Entry -match '^([^:]*):([^:]*)$') {
        $Place, $Only = $Matches[1], $Matches[2]
    }
    if ($Only -and $Only -ne "$ServerPort") { return $false }
    $Place = $Place.TrimEnd('.').ToLowerInvariant()
    $Mine, $Theirs = @(Get-Bytes $BareHost), @(Get-Bytes $Place)
    if ($Theirs.Count -eq 16) {
        if ($Mine.Count -ne 16 -or $Bits -gt 128) { return $false }
        # IPv4 addresses are in no network of IPv6, though they can be written as such.
        $IsIpv4 = (($Mine[0..9] | Measure-Object -Sum).Sum -eq 0) -and $Mine[10] -eq 255 -and $Mine[11] -eq 255
        if ($IsIpv4 -and $Bits -lt 96) { return $false }
        for ($Bit = 0; $Bit -lt $Bits; $Bit++) {
            $Mask = 128 -shr ($Bit % 8)
            $Index = [Math]::Floor($Bit / 8)
            if (($Mine[$Index] -band $Mask) -ne ($Theirs[$Index] -band $Mask)) { return $false }
        }
        return $true
    }
    # An address is no name, whatever its last digits are.
    if ($Mine.Count -eq 16 -or $Entry.Contains('/') -or -not $Place) { return $false }
    if ($Place.StartsWith('*.')) { $Place = $Place.Substring(1) }
    if ($Place.StartsWith('.')) { return $BareHost.EndsWith($Place, [StringComparison]::Ordinal) }
    return $BareHost -eq $Place -or $BareHost.EndsWith(".$Place", [StringComparison]::Ordinal)
}

# Chooses the proxy that is asked for the server, as the agent does: curl.exe has rules of its own.
function Select-Way {
    if ($ProxyMode -eq 'url') { $script:Through = $ProxyUrl }
    if ($ProxyMode -eq 'inherited' -and $env:HTTPS_PROXY -and $env:HTTPS_PROXY -ne 'none') {
        $script:Through = $env:HTTPS_PROXY
        # A port that is not named is 80 to the agent, and another one to curl.exe.
        if ($script:Through -match '^(http://)?([^/@]*@)?([^/@:\[\]]+|\[[^\]]*\])/?$') {
            $script:Through = "http://$($Matches[2])$($Matches[3]):80"
        }
    }
    if (-not $script:Through) { return }
    $Covered = $Exempt -eq 'yes'
    $By = 'what is exempt by default'
    if ($NoProxyGiven) {
        $By = '--no-proxy'
    } elseif ($env:NO_PROXY) {
        $By = 'NO_PROXY of the environment'
        $Covered = [bool]($env:NO_PROXY -split '[, ]+' | Where-Object { $_ -and (Test-Exempt $_) })
    }
    if ($Covered) { $script:Through, $script:ExemptBy = '', $By }
}

# curl.exe trusts only the authority of this script; the proxy's URL may hold a password, so it is no argument.
function Invoke-Curl([string[]]$Words) {
    $Kept = $env:HTTPS_PROXY, $env:ALL_PROXY, $env:NO_PROXY
    try {
        $env:HTTPS_PROXY, $env:ALL_PROXY, $env:NO_PROXY = $null, $null, $null
        if ($script:Through) { $env:HTTPS_PROXY = $script:Through }
        $All = @('--silent', '--show-error', '--proto', '=https', '--cacert', "$Work\ca.pem", '--ssl-no-revoke',
            '--connect-timeout', '15') + $Words
        # What a program writes to its standard error must not end the script.
        $ErrorActionPreference = 'Continue'
        & curl.exe @All 2> "$Work\said"
        return
    } finally {
        $env:HTTPS_PROXY, $env:ALL_PROXY, $env:NO_PROXY = $Kept
    }
}

function Test-Server {
    $TlsCodes = 35, 51, 53, 60, 77
    Invoke-Curl @('--max-time', '30', '--dump-header', "$Work\head", '--output', "$Work\body", "https://$Server/healthz")
    $Code = $LASTEXITCODE
    $Said = "$(Get-Content -Raw "$Work\said" -ErrorAction SilentlyContinue)".Trim()
    if ($Code -in $TlsCodes) {
        # Without a certificate that holds, the time is asked for all the same, and used for nothing but its line.
        Invoke-Curl @('--insecure', '--max-time', '30', '--dump-header', "$Work\head", '--output', "$Work\body",
            "https://$Server/healthz")
    }
    $Date = Get-Content "$Work\head" -ErrorAction SilentlyContinue | Where-Object { $_ -match '^date: ' } |
        Select-Object -Last 1
    if ($Date) {
        $Theirs = [DateTime]::Parse($Date.Substring(6), [Globalization.CultureInfo]::InvariantCulture).ToUniversalTime()
        $Skew = [long][Math]::Abs(([DateTime]::UtcNow - $Theirs).TotalSeconds)
        $State = if ($Skew -le $SkewGood) { 'PASS' } elseif ($Skew -le $SkewMax) { 'WARN' } else { 'FAIL' }
        Verdict-Net $State 'clock' "$Skew s from the server" "at most $SkewMax s, better $SkewGood s" 'set the clock: w32tm /resync'
    } else {
        Verdict-Net 'WARN' 'clock' 'not compared: the server is not reached' "within $SkewMax s of the server" `
            'first what the lines after this one say'
    }
    if ($script:ExemptBy) {
        Verdict-Net 'PASS' 'proxy' "not used for ${Server}: $script:ExemptBy covers it" "a way to $Server"
    }
    if ($Code -eq 0) {
        Verdict-Net 'PASS' 'server' "reached $Server, and it is the one of this script" "TCP and TLS to $Server"
    } elseif ($Code -in 5, 97 -or ($Code -eq 7 -and $script:Through)) {
        Verdict-Net 'FAIL' 'proxy' $Said "a way to $Server" "allow $Server in the proxy, or add the connector again with --proxy"
    } elseif ($Code -eq 6) {
        Verdict-Net 'FAIL' 'dns' $Said "an address of $ServerHost" 'correct the DNS of this host'
    } elseif ($Code -in $TlsCodes) {
        Verdict-Net 'FAIL' 'tls' $Said 'the certificate of this fleet' "correct the clock; exempt $Server from TLS inspection"
    } else {
        Verdict-Net 'FAIL' 'tcp' $Said "TCP to $Server" "let port $ServerPort of $ServerHost out in the firewall"
    }
}

function Get-Agent([string]$To) {
    if ($Agent) {
        Copy-Item -LiteralPath $Agent -Destination $To
        return
    }
    Say "downloading the agent from $Server"
    Invoke-Curl @('--fail', '--retry', '5', '--retry-max-time', '120', '--max-time', '600', '--output', $To,
        "https://$Server$AgentPath")
    if ($LASTEXITCODE -ne 0) {
        Stop-Here 4 "cannot download the agent from https://$Server$($AgentPath): $(Get-Content -Raw "$Work\said")"
    }
    $Found = Get-Sha256 $To
    if ($Found -ne $AgentSha256) {
        Stop-Here 4 "the agent is not the announced one (sha256 $Found, announced $AgentSha256); add the connector again"
    }
}

# Only these may look in. What cannot be closed holds no secret: the run ends.
function Set-Private([string]$Path, [string[]]$Who) {
    $Grants = @($Who | ForEach-Object { "${_}:(OI)(CI)F" })
    & icacls.exe $Path /inheritance:r /grant:r @Grants | Out-Null
    if ($LASTEXITCODE -ne 0) {
        Stop-Here 3 "cannot close $Path to others (icacls.exe: exit code $LASTEXITCODE); use a prefix on an NTFS volume"
    }
}

function New-Private([string]$Path) {
    if (Test-Path -LiteralPath $Path -PathType Container) { return }
    $Above = Split-Path -Parent $Path
    if ($Above) { New-Private $Above }
    New-Item -ItemType Directory -Path $Path | Out-Null
    $script:Made = @($Path) + $script:Made
}

# Sets Program to where the wanted agent belongs, a folder for each content: Windows keeps a program that runs as it is.
# Says whether it is there.
function Test-Version {
    $script:Wanted = if ($Agent) { Get-Sha256 $Agent } else { $AgentSha256 }
    $script:Program = "$Prefix\agent\versions\$($script:Wanted.Substring(0, 12))\muster-agent.exe"
    return (Test-Path -LiteralPath $script:Program) -and (Get-Sha256 $script:Program) -eq $script:Wanted
}

function Get-Sha256([string]$Path) { (Get-FileHash -Algorithm SHA256 -LiteralPath $Path).Hash.ToLower() }

function Install-Agent {
    foreach ($Folder in "$Prefix\agent\versions", "$Prefix\state") { New-Private $Folder }
    Set-Private $Prefix '*S-1-5-18', '*S-1-5-32-544'
    if (Test-Version) {
        Say 'the agent is here already'
        return
    }
    $Version = $Wanted.Substring(0, 12)
    $Part = "$Work\muster-agent.exe"
    Get-Agent $Part
    if (-not (Test-Path -LiteralPath "$Prefix\agent\versions\$Version")) {
        New-Item -ItemType Directory -Path "$Prefix\agent\versions\$Version" | Out-Null
        $script:NewVersion = "$Prefix\agent\versions\$Version"
    }
    Move-Item -Force -LiteralPath $Part -Destination $script:Program
}

# What the agent must be told as long as it has no settings.
function Get-Introduction([string]$Verb) {
    $Words = @($Verb, '--prefix', $Prefix, '--server', $Server, '--ca', "$Work\ca.pem")
    if ($ProxyMode -eq 'never') { $Words += '--proxy', 'none' } elseif ($Proxy) { $Words += '--proxy', $Proxy }
    if ($NoProxyGiven) { $Words += "--no-proxy=$NoProxyList" }
    if ($ProxyPassword) {
        [IO.File]::WriteAllText("$Work\proxy-password", $ProxyPassword)
        $Words += '--proxy-password-file', "$Work\proxy-password"
    }
    return $Words
}

# What this script cannot do, MQTT above all, the agent checks before it enrols; and that it runs here at all.
function Test-Agent {
    $Words = (Get-Introduction 'check') + @('--before-enrol', '--ca-sha256', $CaSha256)
    $Lines = & $script:Program @Words
    if ($LASTEXITCODE -eq 0) {
        $Lines | Where-Object { $_ -match '^[A-Z]+  mqtt ' } | ForEach-Object { Write-Output $_ }
        return
    }
    $Lines | ForEach-Object { Write-Output $_ }
    Stop-Here 4 "the agent cannot work with $Server from here; the lines with FAIL say what to do"
}

function Register-Host {
    $Stamp = "$Prefix\state\enrolled-with"
    # The token works once, so its digest says whether this very script enrolled the host before.
    [IO.File]::WriteAllText("$Work\token", $Token)
    $Digest = Get-Sha256 "$Work\token"
    $Before = "$(Get-Content -LiteralPath $Stamp -ErrorAction SilentlyContinue)".Trim()
    $Is = Test-Path -LiteralPath "$Prefix\state\identity\cert.pem"
    if ($Is -and $Renew -ne 'yes') {
        Say 'this host is enrolled already; its identity is kept'
        Say "to give it a new one, run on the server: muster connector add $Name --renew --shell powershell"
        $script:Enrolled = $true
        return
    }
    if ($Is -and $Before -eq $Digest) {
        Say 'this script has enrolled this host already; its identity is kept'
        $script:Enrolled = $true
        return
    }
    Say "enrolling $Name at $Server"
    # The token goes into a private file, never into the arguments of a program, where others could read it.
    $Words = (Get-Introduction 'enrol') + @('--name', $Name, '--token-file', "$Work\token")
    if ($Renew -eq 'yes') { $Words += '--force' }
    if ($Pool) { $Words += '--pool', $Pool }
    # How it is started is this script's to say.
    & $script:Program @Words | ForEach-Object { Say ($_ -replace '; start it with.*$', '') }
    if ($LASTEXITCODE -ne 0) {
        Stop-Here 5 "not enrolled; for a new token run on the server: muster connector add $Name --renew --shell powershell (--reinstall in place of --renew if it was removed)"
    }
    $script:Enrolled = $true
    [IO.File]::WriteAllText($Stamp, "$Digest`n")
}

function Start-Agent {
    & $script:Program install --prefix $Prefix --no-start
    if ($LASTEXITCODE -ne 0) { Stop-Here 6 'the agent is enrolled, but is no service here' }
    & $script:Program restart --prefix $Prefix
    if ($LASTEXITCODE -ne 0) { Stop-Here 6 "the agent is enrolled, but did not start; see: & '$script:Program' status --prefix '$Prefix'" }
    Say 'waiting for the server to confirm the first check-in'
    & $script:Program status --prefix $Prefix --wait $ConfirmSeconds | Out-Null
    if ($LASTEXITCODE -ne 0) { Stop-Here 7 "not confirmed yet; the agent goes on trying. See: & '$script:Program' status --prefix '$Prefix'" }
    Say 'confirmed by the server'
}

# What this run brought goes, unless the host is enrolled.
function Undo {
    if ($script:NewVersion) { Remove-Item -Recurse -Force -LiteralPath $script:NewVersion -ErrorAction SilentlyContinue }
    foreach ($Folder in $script:Made) {
        if (-not (Get-ChildItem -Force -LiteralPath $Folder -ErrorAction SilentlyContinue)) {
            Remove-Item -Force -LiteralPath $Folder -ErrorAction SilentlyContinue
        }
    }
}

function Main {
    if ($Unknown.Count) {
        Stop-Here 2 "unknown argument $($Unknown[0]); -DryRun, -NoStart and -Agent FILE are known"
    }
    if ($Preview -eq 'yes' -and -not $DryRun) {
        Stop-Here 2 "this is a preview and has no token; run on the server: muster connector add $Name --shell powershell"
    }
    if (-not $Prefix) { $script:Prefix = "$env:ProgramData\Muster" }
    $script:Work = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
    New-Item -ItemType Directory -Path $Work | Out-Null
    # By number: names of users and groups may be anything.
    Set-Private $Work "*$([Security.Principal.WindowsIdentity]::GetCurrent().User.Value)"
    [IO.File]::WriteAllText("$Work\ca.pem", $Ca)
    Test-Host
    if ($script:Failures) { Stop-Here 3 'this host cannot be a connector yet; the lines with FAIL say what to do' }
    $script:Known = (Test-Path -LiteralPath "$Prefix\state\identity\cert.pem") -and (Test-Version)
    Select-Way
    Test-Server
    if ($script:Failures) { Stop-Here 4 "cannot download the agent from $Server; the lines with FAIL say what to do" }
    if ($DryRun) {
        Say "would install the agent to $Prefix, enrol this host as $Name at $Server and start the agent"
        Say 'dry run: nothing was changed, and the token is still good'
        return
    }
    Install-Agent
    if (-not (Test-Path -LiteralPath "$Prefix\state\identity\cert.pem")) { Test-Agent }
    Register-Host
    if ($NoStart -or $Start -eq 'no') {
        Say "done; start the agent with: & '$script:Program' install --prefix '$Prefix'"
        return
    }
    Start-Agent
    Say "done; on the server: muster connector show $Name"
}

$Code = 0
try {
    Main
} catch [System.ApplicationException] {
    $Code = [int]$_.Exception.Message
} catch {
    [Console]::Error.WriteLine("muster: $($_.Exception.Message)")
    $Code = 3
} finally {
    if ($Work) { Remove-Item -Recurse -Force -LiteralPath $Work -ErrorAction SilentlyContinue }
    if (-not $script:Enrolled) { Undo }
}
exit $Code
