%% SPDX-License-Identifier: Apache-2.0
%% @doc Addresses to listen on: from the text of the option `bind' to socket options and back.
%% Runs in whichever process checks the options. Pure but for one thing: a host name is resolved
%% (`inet:getaddr/2') when it is checked, so that a name nobody knows is an error of `start' and
%% never means "every interface".
-module(hornbeam_bind).

-export([check/1, to_ranch/1, format/3]).
-export_type([bind/0, address/0]).

-type address() :: {inet, inet:ip4_address()} | {inet6, inet:ip6_address()} | {local, binary()}.
-type bind() :: #{
    address := address(),
    %% 0: the kernel chooses. Always 0 for a Unix socket.
    port := inet:port_number(),
    %% As the user wrote it, for messages.
    text := binary()
}.

%% Where a bare port listens.
-define(DEFAULT_HOST, {inet, {127, 0, 0, 1}}).
%% sun_path of Linux holds 108 bytes, one of them the final NUL. (unix(7))
-define(MAX_PATH, 107).

%% @doc One address or a list of them: `"host:port"', `"[v6]:port"', `port' (a number or text; on
%% 127.0.0.1), `"unix:/path"'. A string is one address; a list of strings, binaries or numbers is
%% several.
%% A wildcard has to be written out (`0.0.0.0:80', `[::]:80'); `:80' and `*:80' are refused.
%% Errors: what is wrong with which address, for people.
-spec check(term()) -> {ok, [bind(), ...]} | {error, binary()}.
check([]) ->
    {error, <<"no address is given">>};
check(Value) when is_list(Value), length(Value) > 0 ->
    case is_string(Value) of
        true -> check_each([Value], []);
        false -> check_each(Value, [])
    end;
check(One) ->
    check_each([One], []).

%% [8000, 8001] is a list of ports, "8000" a string: only a path holds characters beyond ASCII.
is_string("unix:" ++ _) -> true;
is_string(List) -> lists:all(fun(C) -> is_integer(C) andalso C >= 0 andalso C < 128 end, List).

check_each([One | Rest], Checked) ->
    case check_one(One) of
        {ok, Bind} -> check_each(Rest, [Bind | Checked]);
        {error, _} = Error -> Error
    end;
check_each([], Checked) ->
    {ok, lists:reverse(Checked)}.

check_one(Port) when is_integer(Port) ->
    check_text(integer_to_binary(Port));
check_one(Value) ->
    case hornbeam_options_type:text(Value) of
        {ok, Text} -> check_text(Text);
        error -> {error, <<"an address is neither text nor a port number">>}
    end.

check_text(<<"unix:", Path/binary>> = Text) ->
    check_path(Path, Text);
check_text(<<"[", Rest/binary>> = Text) ->
    case binary:split(Rest, <<"]:">>) of
        [Host, Port] -> with_port(fun() -> ipv6(Host, Text) end, Port, Text);
        [_] -> fault(Text, "has no port; write [address]:port")
    end;
check_text(Text) ->
    case binary:split(Text, <<":">>, [global]) of
        [Port] -> with_port(fun() -> {ok, ?DEFAULT_HOST} end, Port, Text);
        [Host, Port] -> with_port(fun() -> host(Host, Text) end, Port, Text);
        _ -> fault(Text, "has several colons; an IPv6 address goes into brackets: [address]:port")
    end.

check_path(<<>>, Text) ->
    fault(Text, "has no path after unix:");
check_path(Path, Text) when byte_size(Path) > ?MAX_PATH ->
    fault(Text, ["has a path of more than ", integer_to_list(?MAX_PATH), " bytes"]);
check_path(Path, Text) ->
    {ok, #{address => {local, Path}, port => 0, text => Text}}.

with_port(Host, PortText, Text) ->
    case port(PortText) of
        {ok, Port} ->
            case Host() of
                {ok, Address} -> {ok, #{address => Address, port => Port, text => Text}};
                {error, _} = Error -> Error
            end;
        error ->
            fault(Text, "needs a port of 0 to 65535, as in 127.0.0.1:8000")
    end.

%% Digits only: binary_to_integer/1 would take a sign.
port(Text) when byte_size(Text) >= 1, byte_size(Text) =< 5 ->
    case re:run(Text, "\\A[0-9]+\\z", [{capture, none}]) of
        match ->
            case binary_to_integer(Text) of
                Port when Port =< 65535 -> {ok, Port};
                _ -> error
            end;
        nomatch ->
            error
    end;
port(_) ->
    error.

ipv6(Host, Text) ->
    case inet:parse_ipv6strict_address(binary_to_list(Host)) of
        {ok, Address} -> {ok, {inet6, Address}};
        {error, einval} -> fault(Text, "has no IPv6 address between the brackets")
    end.

host(Host, Text) when Host =:= <<>>; Host =:= <<"*">> ->
    fault(Text, "names no host; write 0.0.0.0 or [::] to listen on every interface");
host(Host, Text) ->
    case inet:parse_ipv4strict_address(binary_to_list(Host)) of
        {ok, Address} ->
            {ok, {inet, Address}};
        {error, einval} ->
            case is_name(Host) of
                true -> resolve(Host, Text);
                false -> fault(Text, "has neither an IPv4 address nor a host name before the port")
            end
    end.

%% A name whose last label is a number would be taken for an address by the resolver: "0", "1.2",
%% "0x7f000001". (RFC 1123, 2.1; RFC 3696, 2)
is_name(Host) ->
    byte_size(Host) =< 253 andalso
        re:run(Host, "\\A([A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?\\.)*"
            "(?!0[xX][0-9A-Fa-f]*\\.?\\z)[A-Za-z0-9_-]*[A-Za-z_-][A-Za-z0-9_-]*\\.?\\z",
            [{capture, none}]) =:= match.

resolve(Host, Text) ->
    Name = binary_to_list(Host),
    case {inet:getaddr(Name, inet), inet:getaddr(Name, inet6)} of
        {{ok, Address}, _} -> resolved({inet, Address}, Text);
        {_, {ok, Address}} -> resolved({inet6, Address}, Text);
        {{error, Reason}, _} ->
            fault(Text, ["names an unknown host (", inet:format_error(Reason), ")"])
    end.

resolved({_, Address}, Text) when
    Address =:= {0, 0, 0, 0}; Address =:= {0, 0, 0, 0, 0, 0, 0, 0}
->
    fault(Text, "names a host that resolves to every interface");
resolved(Address, _) ->
    {ok, Address}.

fault(Text, What) ->
    {error, iolist_to_binary(["the address \"", Text, "\" ", What])}.

%% @doc Options of the listening socket. IPv6 sockets take IPv6 only: who wants both binds both.
-spec to_ranch(bind()) -> [gen_tcp:listen_option()].
to_ranch(#{address := {inet, Address}, port := Port}) ->
    [inet, {ip, Address}, {port, Port}];
to_ranch(#{address := {inet6, Address}, port := Port}) ->
    [inet6, {ip, Address}, {port, Port}, {ipv6_v6only, true}];
to_ranch(#{address := {local, Path}}) ->
    [{ip, {local, Path}}, {port, 0}].

%% @doc What to show a person: `http://127.0.0.1:8000', `https://[::1]:8000', `unix:/path'. `Port'
%% is the one the kernel gave, which differs from the option's when that is 0.
-spec format(Scheme :: binary(), bind(), inet:port_number()) -> binary().
format(_, #{address := {local, Path}}, _) ->
    <<"unix:", Path/binary>>;
format(Scheme, #{address := {inet, Address}}, Port) ->
    url(Scheme, inet:ntoa(Address), Port);
format(Scheme, #{address := {inet6, Address}}, Port) ->
    url(Scheme, ["[", inet:ntoa(Address), "]"], Port).

url(Scheme, Host, Port) ->
    iolist_to_binary([Scheme, "://", Host, ":", integer_to_list(Port)]).
